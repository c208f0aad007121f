import { loaded } from '../support/loading.ts'
import './delivery.test.ts'
import './faults.test.ts'
import './intermediaries.test.ts'
import './preconnect.test.ts'

loaded()
