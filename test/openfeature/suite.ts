import { loaded } from '../support/loading.ts'
import './ofrep.test.ts'
import './provider.test.ts'

loaded()
