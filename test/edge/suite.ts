import './at-js-edge.test.ts'
import './edge.test.ts'
