import { loaded } from '../support/loading.ts'
import './artifact-store.test.ts'
import './outbox-store.test.ts'

loaded()
