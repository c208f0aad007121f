/** The key under which an evaluation context holds the request. A symbol, so that hooks that log a context do not see it. */
import type { EvaluationContext } from '@openfeature/server-sdk'
import type { FastifyRequest } from 'fastify'

const REQUEST = Symbol.for('fastify-adobe-target.request')

/**
 * The evaluation context of a request, where the transaction context is not set: `client.getBooleanValue(key, false, requestContext(request))`.
 */
export const requestContext = (request: FastifyRequest): EvaluationContext => ({ [REQUEST]: request }) as EvaluationContext

/** The request of an evaluation context; undefined outside a request. */
export const requestOf = (context: EvaluationContext): FastifyRequest | undefined => (context as { [REQUEST]?: FastifyRequest })[REQUEST]
