/** The app's own validator compiler, for content that is declared in JSON Schema. */
import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'
import type { CompileSchema, Validator } from '../offers/foreign-schema.ts'
import { bySymbol } from './fastify-internals.ts'

type Compiler = FastifySchemaCompiler<object>

/** The parts of Fastify's schema controller that make the compiler. It is made once all plugins have loaded, which is too late here. */
interface SchemaController {
  getValidatorBuilder (): (schemas: Record<string, unknown>, options: unknown) => Compiler
  getSchemas (): Record<string, unknown>
}

/**
 * Compiles JSON Schema as the app's routes do: by the compiler that was set, else by one as Fastify makes for itself, with the
 * app's `ajv` options and shared schemas.
 */
export function schemaCompiler (app: FastifyInstance): CompileSchema {
  let own: Compiler | undefined
  return (schema) => {
    const compiler = app.validatorCompiler ?? (own ??= buildCompiler(app))
    return compiler({ schema, method: 'POST', url: '/', httpPart: 'body' }) as Validator
  }
}

function buildCompiler (app: FastifyInstance): Compiler {
  const controller = bySymbol(app, 'fastify.schemaController') as Partial<SchemaController> | undefined
  const options = bySymbol(app, 'fastify.options') as { ajv?: unknown } | undefined
  if (typeof controller?.getValidatorBuilder !== 'function') throw new Error('this version of Fastify has none; set one with app.setValidatorCompiler()')
  return controller.getValidatorBuilder()(controller.getSchemas!(), options?.ajv)
}
