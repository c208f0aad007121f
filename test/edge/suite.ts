import { loaded } from '../support/loading.ts'
import './at-js-edge.test.ts'
import './edge.test.ts'

loaded()
