import { loaded } from '../support/loading.ts'
import './browser-request.test.ts'
import './client.test.ts'
import './health.test.ts'
import './on-device.test.ts'

loaded()
