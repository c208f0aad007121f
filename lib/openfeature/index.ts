/** fastify-adobe-target/openfeature: Target as a provider of feature flags for OpenFeature. */
export { TargetProvider, type TargetProviderOptions } from './provider.ts'
export { requestContext } from './request-context.ts'
