import { loaded } from '../support/loading.ts'
import './file-store.test.ts'
import './journal.test.ts'
import './outbox.test.ts'

loaded()
