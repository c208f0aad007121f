import { loaded } from '../support/loading.ts'
import './conventions.test.ts'
import './plugin.test.ts'
import './returning-visitor.test.ts'
import './security.test.ts'
import './tracing.test.ts'
import './warm-up.test.ts'

loaded()
