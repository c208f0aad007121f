import './edge-network.test.ts'
import './web-sdk.test.ts'
