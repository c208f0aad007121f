import { loaded } from './support/loading.ts'
import './log.test.ts'
import './next-tick.test.ts'
import './package.test.ts'
import './validation.test.ts'

loaded()
