/**
 * The visitor's cookies for calls made with `app.target`. `request.target` does all of this by itself; the client's
 * methods are those of the Node SDK, which takes cookies and gives cookies.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { getVisitorCookieName, LOCATION_HINT_COOKIE, TARGET_COOKIE, type GetOffersOptions, type TargetResult } from 'fastify-adobe-target'
import { organizationId } from './account.ts'

const visitorCookie = getVisitorCookieName(organizationId)

/** Options of `getOffers` and `sendNotifications` that identify the visitor: by at.js's cookies, and by Web SDK's. */
export function visitorOptions ({ cookies }: FastifyRequest): Omit<GetOffersOptions, 'request'> {
  return {
    edgeCookies: cookies,
    targetCookie: cookies[TARGET_COOKIE],
    targetLocationHint: cookies[LOCATION_HINT_COOKIE],
    // VisitorAPI.js percent-encodes the name of its cookie.
    visitorCookie: cookies[visitorCookie] ?? cookies[encodeURIComponent(visitorCookie)]
  }
}

/** Writes the cookies of a result. Their values are encoded already, part by part. */
export function setTargetCookies (reply: FastifyReply, { targetCookie, targetLocationHintCookie, edgeCookies }: TargetResult): void {
  for (const cookie of edgeCookies ?? [targetCookie, targetLocationHintCookie]) {
    if (cookie === undefined) continue
    const { name, value, maxAge } = cookie
    reply.setCookie(name, value, { maxAge, path: '/', sameSite: 'lax', encode: String })
  }
}

/** Makes the visitor a new one. */
export function clearTargetCookies ({ cookies }: FastifyRequest, reply: FastifyReply): void {
  for (const name of [TARGET_COOKIE, LOCATION_HINT_COOKIE, ...Object.keys(cookies).filter((name) => name.startsWith('kndctr_'))]) reply.clearCookie(name, { path: '/' })
}
