import './gherkin.test.ts'
import './ofrep.test.ts'
import './provider.test.ts'
