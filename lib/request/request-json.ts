/**
 * The JSON of a page's request, for one that holds nothing but what the plugin itself puts into it: then its members are
 * known, and writing them takes a third of the time of `JSON.stringify`, which has to find out.
 */
import type { Context, DeliveryRequest, ExperienceCloud, Geo, VisitorId } from '../schema/index.ts'

/**
 * @param request as `PageRequest` makes it, without additions of the app or the route
 * @param end `execute` and `prefetch`, as {@link TargetPlan.json} has them
 */
export function requestJson (request: DeliveryRequest, end: string): string {
  const { requestId, impressionId, id, experienceCloud, context, environmentId, property } = request
  return `{"requestId":"${requestId}","impressionId":"${impressionId}","id":${idJson(id!)},"experienceCloud":${experienceCloudJson(experienceCloud!)}` +
    `,"context":${contextJson(context)}${number('environmentId', environmentId)}${part('property', property)}${end}`
}

/** One member at least is there: a visitor without any id gets one. */
function idJson ({ tntId, thirdPartyId, marketingCloudVisitorId, customerIds }: VisitorId): string {
  return `{${(text('tntId', tntId) + text('thirdPartyId', thirdPartyId) + text('marketingCloudVisitorId', marketingCloudVisitorId) + part('customerIds', customerIds)).slice(1)}}`
}

function experienceCloudJson ({ analytics, audienceManager }: ExperienceCloud): string {
  const { logging, supplementalDataId } = analytics!
  return `{"analytics":{"logging":"${logging}","supplementalDataId":"${supplementalDataId}"}${part('audienceManager', audienceManager)}}`
}

function contextJson ({ channel, address, userAgent, clientHints, geo }: Context): string {
  const { url, referringUrl } = address!
  return `{"channel":"${channel}","address":{"url":${quoted(url!)}${text('referringUrl', referringUrl)}}${text('userAgent', userAgent)}${part('clientHints', clientHints)}${geo === undefined ? '' : `,"geo":${geoJson(geo)}`}}`
}

function geoJson ({ ipAddress, countryCode, stateCode, city, latitude, longitude }: Geo): string {
  const members = text('ipAddress', ipAddress) + text('countryCode', countryCode) + text('stateCode', stateCode) + text('city', city)
  return `{${(members + number('latitude', latitude) + number('longitude', longitude)).slice(1)}}`
}

const text = (name: string, value: string | undefined): string => value === undefined ? '' : `,"${name}":${quoted(value)}`
const number = (name: string, value: number | undefined): string => value === undefined ? '' : `,"${name}":${value}`
const part = (name: string, value: object | undefined): string => value === undefined ? '' : `,"${name}":${JSON.stringify(value)}`

/** Printable ASCII needs no escape, but for the quote and the backslash. */
const quoted = (value: string): string => /^[ !#-[\]-~]*$/.test(value) ? `"${value}"` : JSON.stringify(value)
