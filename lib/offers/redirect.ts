/** Redirect offers: where an app may send its visitors. */
import type { FastifyRequest } from 'fastify'

/**
 * Whether a redirect stays on the site: a path, or an http or https address of the request's own host (as Fastify sees it)
 * or of a listed one. An offer's content is typed into Target by a person, so everything else is refused: other schemes,
 * `//host` and its equivalents in browsers, user names and passwords, white space, control characters, anything but text.
 * Never throws.
 *
 * ```ts
 * const offer = await request.target.offer('landing')
 * if (offer.type === 'redirect' && isSafeRedirect(offer.content, request)) return reply.redirect(offer.content)
 * ```
 *
 * @param location content of a redirect offer; URL-encoded, as the `Location` header must be
 * @param request whose host is allowed
 * @param hosts further hosts, with the port unless it is the scheme's default: `['shop.example', 'stage.example:8443']`
 */
export function isSafeRedirect (location: unknown, request: Pick<FastifyRequest, 'host'>, hosts: readonly string[] = []): location is string {
  // Characters of a header value except the backslash, which browsers read as a slash (WHATWG URL).
  if (typeof location !== 'string' || !/^[!-[\]-~]{1,4096}$/.test(location)) return false
  if (/^https?:\/\//i.test(location)) return isListed(location, [request.host, ...hosts])
  // `https:evil.example` is a path on https pages and another host on http ones, so no scheme without its slashes.
  return !location.startsWith('//') && !/^[^/?#]*:/.test(location)
}

function isListed (location: string, hosts: readonly string[]): boolean {
  if (!URL.canParse(location)) return false
  const { protocol, host, username, password } = new URL(location)
  return username === '' && password === '' && hosts.some((allowed) => hostOf(protocol, allowed) === host)
}

/** A host as normalized in URLs: in lower case, without the scheme's default port; undefined if it is not just a host. */
function hostOf (protocol: string, host: string): string | undefined {
  const url = `${protocol}//${host}`
  return /^([\w.-]+|\[[\da-f:.]+\])(:\d+)?$/i.test(host) && URL.canParse(url) ? new URL(url).host : undefined
}
