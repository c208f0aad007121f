import { loaded } from '../support/loading.ts'
import './at-js.test.ts'
import './consent.test.ts'
import './context.test.ts'
import './nothing-lost.test.ts'
import './notifications-route.test.ts'
import './variant-key.test.ts'

loaded()
