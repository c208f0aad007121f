/** The Delivery API 1.0 in TypeBox: each schema is exported with a type of the same name. */
export * from './context.ts'
export * from './identity.ts'
export * from './details.ts'
export * from './notification.ts'
export * from './telemetry.ts'
export * from './request.ts'
export * from './response.ts'
