/** The options of the inspector. */
import { Type } from '@sinclair/typebox'
import { randomBytes } from 'node:crypto'
import { failure } from '../errors.ts'
import { checkOptions, flag, strict, text } from '../validation.ts'

/** Options of the plugin {@link targetInspector}. */
export interface TargetInspectorOptions {
  /** Its path. Default `/_target`. */
  path?: string
  /** `false` registers nothing. Default `true`. */
  enabled?: boolean
  /**
   * Password for the inspector, at least 16 characters, entered once per browser. Required in production (`NODE_ENV=production`) and
   * with `remote`. Default: none, any browser on this machine has access.
   */
  secret?: string
  /** Whether browsers on other machines have access. Default `false`. */
  remote?: boolean
  /** Number of pages kept, 1 to 1000. Default 200. */
  pages?: number
  /**
   * Loads the rule artifact even if the edge makes the decisions, to explain them and to list experiences to force. Default
   * `false`.
   */
  artifact?: boolean
  /** Authorization token from Target's user interface; calls of pages whose browser has access to the inspector then request a trace. */
  traceToken?: string
  /** Name of the plugin's decorator. Default `target`. */
  decorator?: string
}

const Options = Type.Object({
  path: Type.Optional(text('^(/[\\w.~-]+)+$', 'a path such as /_target')),
  enabled: Type.Optional(flag),
  secret: Type.Optional(Type.String({ minLength: 16, expected: 'a string of at least 16 characters' })),
  remote: Type.Optional(flag),
  pages: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  artifact: Type.Optional(flag),
  traceToken: Type.Optional(Type.String({ minLength: 1 })),
  decorator: Type.Optional(text('^[A-Za-z_$][\\w$]*$', 'a JavaScript identifier'))
}, strict)

/** The options, checked and with their defaults. */
export interface InspectorSettings extends Required<Omit<TargetInspectorOptions, 'secret' | 'traceToken'>> {
  secret: string | undefined
  traceToken: string | undefined
  /** Signs cookies: the secret, or a random one of this process. */
  signingSecret: string
}

/** Fastify's own options of `register`. */
const FASTIFY_OPTIONS = ['prefix', 'logLevel', 'logSerializers']

/**
 * @throws FST_TARGET_INVALID_OPTIONS naming the option
 */
export function resolveOptions (given: TargetInspectorOptions): InspectorSettings {
  const own = Object.fromEntries(Object.entries(given).filter(([name]) => !FASTIFY_OPTIONS.includes(name)))
  const options = checkOptions<TargetInspectorOptions>(Options, own, { call: 'targetInspector' })
  const { enabled = true, remote = false, secret } = options
  if (enabled && secret === undefined && (remote || process.env.NODE_ENV === 'production')) {
    throw failure('FST_TARGET_INVALID_OPTIONS', `targetInspector: \`secret\` is required ${remote ? 'with `remote`' : 'in production'}; set it, or \`enabled: false\``)
  }
  return {
    path: options.path ?? '/_target',
    enabled,
    secret,
    remote,
    pages: options.pages ?? 200,
    artifact: options.artifact ?? false,
    traceToken: options.traceToken,
    decorator: options.decorator ?? 'target',
    signingSecret: secret ?? randomBytes(32).toString('base64url')
  }
}
