import './ecid.test.ts'
import './qa-mode.test.ts'
