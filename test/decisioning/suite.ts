import { loaded } from '../support/loading.ts'
import './artifact-store.test.ts'
import './decisioning.test.ts'
import './explain.test.ts'
import './parse-json.test.ts'

loaded()
