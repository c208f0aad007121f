import { loaded } from '../support/loading.ts'
import './edge-network.test.ts'
import './web-sdk.test.ts'

loaded()
