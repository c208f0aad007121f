import './ofrep.test.ts'
import './provider.test.ts'
