/** The entry `fastify-adobe-target/otel`. */
export { TargetInstrumentation, type EventLogger, type EventLoggerProvider, type TargetInstrumentationConfig } from './instrumentation.ts'
export { isDeliveryRequest, withoutQuery, type UndiciRequestLike } from './undici.ts'
