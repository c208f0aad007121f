import './browser-request.test.ts'
import './client.test.ts'
import './health.test.ts'
import './on-device.test.ts'
