/** Names of cities and regions, as CDNs send them and as Target's rules have them. */

/** Bytes that are not ASCII, and no characters beyond bytes. */
const BYTES = /^[ -\u00ff]*[\u0080-\u00ff][ -\u00ff]*$/
const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Decodes a header's value: Cloudflare and Fastly send UTF-8, of which Node.js makes one character per byte; Vercel and CloudFront
 * percent-encode it. A value that is neither stays as it is.
 */
export function decodePlaceName (value: string): string {
  try {
    if (value.includes('%')) return decodeURIComponent(value)
    return BYTES.test(value) ? utf8.decode(Buffer.from(value, 'latin1')) : value
  } catch {
    return value
  }
}

/** Target's rules have the codes and names of places in upper case; nobody else's data must be. */
export function upperCased <Value> (name: Value): Value | string {
  return typeof name === 'string' ? name.toUpperCase() : name
}
