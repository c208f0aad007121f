/** Names of cities and regions, as sent by CDNs and as used in Target's rules. */

/** Text with non-ASCII bytes, but without characters beyond a byte. */
const BYTES = /^[ -\u00ff]*[\u0080-\u00ff][ -\u00ff]*$/
const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Decodes a header's value: Cloudflare and Fastly send UTF-8, which Node.js reads as one character per byte; Vercel and
 * CloudFront percent-encode it. A value that is neither is returned unchanged.
 */
export function decodePlaceName (value: string): string {
  try {
    if (value.includes('%')) return decodeURIComponent(value)
    return BYTES.test(value) ? utf8.decode(Buffer.from(value, 'latin1')) : value
  } catch {
    return value
  }
}

/** Converts to upper case, as codes and names of places are in Target's rules, but not in other data. */
export function upperCased <Value> (name: Value): Value | string {
  return typeof name === 'string' ? name.toUpperCase() : name
}
