import './browser.test.ts'
import './inspector.test.ts'
