import { loaded } from '../support/loading.ts'
import './architecture.test.ts'
import './migration.test.ts'
import './readme.test.ts'

loaded()
