import { loaded } from '../support/loading.ts'
import './conversions.test.ts'
import './mboxes.test.ts'
import './notifications.test.ts'
import './redirect.test.ts'
import './schemas.test.ts'

loaded()
