import { loaded } from './support/loading.ts'
import './log.test.ts'
import './package.test.ts'
import './validation.test.ts'

loaded()
