import './artifact-store.test.ts'
import './outbox-store.test.ts'
