import { loaded } from '../support/loading.ts'
import './browser.test.ts'
import './inspector.test.ts'

loaded()
