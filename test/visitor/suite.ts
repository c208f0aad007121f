import { loaded } from '../support/loading.ts'
import './ecid.test.ts'
import './qa-mode.test.ts'

loaded()
