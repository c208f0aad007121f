/** An edge's error message, sanitized for ours: short, one line, and without the visitor's data. */

/** Maximum length of the edge's message. */
const MAX_LENGTH = 200

/** A longer message is dropped: it is not a sentence, and searching it for values would take time. */
const MAX_READ = 20_000

/** Values shorter than this are left alone: hiding every `1` or `en` would leave nothing to read. */
const MIN_SECRET = 4

/** Members of a request that name things rather than describe the visitor, unless they are parameters of that name. */
const NAMES = new Set(['name', 'type', 'channel', 'requestId', 'impressionId', 'environment', 'eventType'])
/** Members that hold parameters; the last is the Edge Network's `data.__adobe.target`. */
const PARAMETERS = ['parameters', 'profileParameters', 'target']

/**
 * The `message` of an error response.
 *
 * Control and format characters are removed, so that nothing can forge a log line or colour a terminal. Edges often quote what
 * they refuse, so every value of the request (ids, parameters, addresses) that appears is replaced.
 *
 * @param message as it was received
 * @param request the request's JSON body and its URL, whose values must not be repeated
 * @returns the message with a colon before it, to be appended to the status; empty if there is none
 */
export function edgeMessage (message: unknown, request: { body: string, path: string }): string {
  if (typeof message !== 'string' || message === '') return ''
  // Dropped rather than cut: cutting before values are replaced could leave parts of them.
  if (message.length > MAX_READ) return ''
  let clean = message
  for (const secret of secretsOf(request)) clean = clean.replaceAll(secret, '…')
  clean = clean.replace(/[\p{C}\p{Z}]+/gu, ' ').trim()
  return clean.length > MAX_LENGTH ? `: ${clean.slice(0, MAX_LENGTH)}…` : `: ${clean}`
}

/** Values to hide, the longest first, so that no part of one remains. */
function secretsOf ({ body, path }: { body: string, path: string }): string[] {
  const secrets = new Set(new URLSearchParams(path.slice(path.indexOf('?') + 1)).values())
  JSON.parse(body, (key, value: unknown) => {
    // The part of a `tntId` before its location hint is the visitor.
    if (key === 'tntId' && typeof value === 'string') secrets.add(value).add(value.split('.', 1)[0]!)
    else if (typeof value === 'string' && !NAMES.has(key)) secrets.add(value)
    else if (PARAMETERS.includes(key)) for (const parameter of Object.values(value ?? {})) if (typeof parameter === 'string') secrets.add(parameter)
    return value
  })
  // An edge may quote a value as escaped in JSON, or a session id as encoded in the URL.
  for (const secret of [...secrets]) secrets.add(JSON.stringify(secret).slice(1, -1)).add(new URLSearchParams({ '': secret }).toString().slice(1))
  return [...secrets].filter((secret) => secret.length >= MIN_SECRET).sort((a, b) => b.length - a.length)
}
