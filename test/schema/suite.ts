import { loaded } from '../support/loading.ts'
import './limits.test.ts'
import './schema.test.ts'

loaded()
