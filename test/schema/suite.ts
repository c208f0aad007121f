import './limits.test.ts'
import './schema.test.ts'
