/**
 * The `context` of a Delivery request: where the visitor is, and with which device.
 *
 * Source: Adobe Target Delivery API 1.0, OpenAPI.
 */
import { Type, type Static } from '@sinclair/typebox'
import { MAX_ADDRESS } from './limits.ts'
import { choice, open } from './shape.ts'

/** `web` or `mobile`: only activities of this channel are evaluated. */
export const ChannelType = choice(['mobile', 'web'], 'Channel of the request; only activities of this channel are evaluated.')
export type ChannelType = Static<typeof ChannelType>

/** Operating system of a mobile app. */
export const MobilePlatformType = choice(['android', 'ios'], 'Only activities for this platform are evaluated.')
export type MobilePlatformType = Static<typeof MobilePlatformType>

/** Kind of mobile device. */
export const DeviceType = choice(['phone', 'tablet'], 'Only activities for this device, or for any, are evaluated.')
export type DeviceType = Static<typeof DeviceType>

/** How the screen is held. */
export const ScreenOrientationType = choice(['portrait', 'landscape'], 'Only activities for this orientation are evaluated.')
export type ScreenOrientationType = Static<typeof ScreenOrientationType>

/** The mobile device; belongs to the channel `mobile`. */
export const MobilePlatform = Type.Object({
  deviceName: Type.Optional(Type.String({ description: 'Device name as the Mobile SDK reports it (a.DeviceName), for device detection.' })),
  deviceType: DeviceType,
  platformType: MobilePlatformType,
  version: Type.Optional(Type.String({ maxLength: 128, description: 'Platform version; if present, only activities for it are evaluated.' }))
}, { ...open, description: 'The mobile device, for the channel mobile.' })
export type MobilePlatform = Static<typeof MobilePlatform>

/** The mobile app; each member that is present must match the activity's. */
export const Application = Type.Object({
  id: Type.Optional(Type.String({ maxLength: 250, description: 'Application id; absent matches any.' })),
  name: Type.Optional(Type.String({ maxLength: 250, description: 'Application name; absent matches any.' })),
  version: Type.Optional(Type.String({ maxLength: 128, description: 'Application version.' }))
}, { ...open, description: 'The mobile app.' })
export type Application = Static<typeof Application>

/** The visitor's screen, in pixels. */
export const Screen = Type.Object({
  width: Type.Optional(Type.Number({ description: 'Width in pixels.' })),
  height: Type.Optional(Type.Number({ description: 'Height in pixels.' })),
  colorDepth: Type.Optional(Type.Number({ description: 'Bits per pixel.' })),
  pixelRatio: Type.Optional(Type.Number({ description: 'Device pixels per CSS pixel, for device detection.' })),
  orientation: Type.Optional(ScreenOrientationType)
}, { ...open, description: 'The screen.' })
export type Screen = Static<typeof Screen>

/** The browser's window, in pixels. */
export const Window = Type.Object({
  width: Type.Optional(Type.Number({ description: 'Width in pixels.' })),
  height: Type.Optional(Type.Number({ description: 'Height in pixels.' }))
}, { ...open, description: 'The browser window.' })
export type Window = Static<typeof Window>

/** The browser; belongs to the channel `web`. */
export const Browser = Type.Object({
  host: Type.Optional(Type.String({ description: 'Host of the page.' })),
  language: Type.Optional(Type.String({ description: 'Language as in Accept-Language (RFC 9110 section 12.5.4).' })),
  webGLRenderer: Type.Optional(Type.String({ description: 'WebGL renderer, for device detection.' }))
}, { ...open, description: 'The browser, for the channel web.' })
export type Browser = Static<typeof Browser>

/** The page and the page before it. */
export const Address = Type.Object({
  url: Type.Optional(Type.String({ maxLength: MAX_ADDRESS, description: 'URL of the page.' })),
  referringUrl: Type.Optional(Type.String({ maxLength: MAX_ADDRESS, description: 'URL of the page before it.' }))
}, { ...open, description: 'The page and the one that led to it.' })
export type Address = Static<typeof Address>

const octet = '(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])'
const ipv4 = `(?:${octet}\\.){3}${octet}`
const group = '[0-9A-Fa-f]{1,4}'
const lastTwoGroups = `(?:${group}:${group}|${ipv4})`
/** The nine forms of RFC 3986 section 3.2.2: `::` stands for any number of groups, once. */
const ipv6 = [
  `(?:${group}:){6}${lastTwoGroups}`,
  `::(?:${group}:){5}${lastTwoGroups}`,
  `(?:${group})?::(?:${group}:){4}${lastTwoGroups}`,
  `(?:(?:${group}:){0,1}${group})?::(?:${group}:){3}${lastTwoGroups}`,
  `(?:(?:${group}:){0,2}${group})?::(?:${group}:){2}${lastTwoGroups}`,
  `(?:(?:${group}:){0,3}${group})?::${group}:${lastTwoGroups}`,
  `(?:(?:${group}:){0,4}${group})?::${lastTwoGroups}`,
  `(?:(?:${group}:){0,5}${group})?::${group}`,
  `(?:(?:${group}:){0,6}${group})?::`
].join('|')

/** Where the visitor is. */
export const Geo = Type.Object({
  ipAddress: Type.Optional(Type.String({ pattern: `^\\s*(?:${ipv4}|(?:${ipv6})(?:%\\S+)?)\\s*$`, description: 'IPv4 or IPv6 address to resolve.' })),
  latitude: Type.Optional(Type.Number({ description: 'Latitude in degrees.' })),
  longitude: Type.Optional(Type.Number({ description: 'Longitude in degrees.' })),
  countryCode: Type.Optional(Type.String({ minLength: 2, maxLength: 2, description: 'Country, ISO 3166-1 alpha-2.' })),
  stateCode: Type.Optional(Type.String({ minLength: 1, maxLength: 3, description: 'Subdivision, the second part of ISO 3166-2.' })),
  city: Type.Optional(Type.String({ maxLength: 50, description: 'City.' })),
  zip: Type.Optional(Type.String({ maxLength: 12, description: 'Postal code.' }))
}, { ...open, description: 'The location of the visitor; resolved from the IP address if absent.' })
export type Geo = Static<typeof Geo>

/** User-agent client hints, which take precedence over `userAgent`. */
export const ClientHints = Type.Object({
  mobile: Type.Optional(Type.Boolean({ description: 'Sec-CH-UA-Mobile.' })),
  model: Type.Optional(Type.String({ description: 'Sec-CH-UA-Model.' })),
  platform: Type.Optional(Type.String({ description: 'Sec-CH-UA-Platform.' })),
  platformVersion: Type.Optional(Type.String({ description: 'Sec-CH-UA-Platform-Version.' })),
  browserUAWithMajorVersion: Type.Optional(Type.String({ description: 'Sec-CH-UA.' })),
  browserUAWithFullVersion: Type.Optional(Type.String({ description: 'Sec-CH-UA-Full-Version-List.' })),
  architecture: Type.Optional(Type.String({ description: 'Sec-CH-UA-Arch.' })),
  bitness: Type.Optional(Type.String({ description: 'Sec-CH-UA-Bitness.' }))
}, { ...open, description: 'User-agent client hints, which take precedence over userAgent.' })
export type ClientHints = Static<typeof ClientHints>

/** Where the visitor is, and with which device. */
export const Context = Type.Object({
  channel: ChannelType,
  mobilePlatform: Type.Optional(MobilePlatform),
  application: Type.Optional(Application),
  screen: Type.Optional(Screen),
  window: Type.Optional(Window),
  browser: Type.Optional(Browser),
  address: Type.Optional(Address),
  geo: Type.Optional(Geo),
  timeOffsetInMinutes: Type.Optional(Type.Number({ description: 'Minutes from UTC of the visitor\'s clock.' })),
  userAgent: Type.Optional(Type.String({ description: 'User agent; the HTTP header is ignored.' })),
  clientHints: Type.Optional(ClientHints),
  beacon: Type.Optional(Type.Boolean({ description: 'true: the response is a 204 without a body. Default false.' }))
}, { ...open, description: 'Where the visitor is, and with which device.' })
export type Context = Static<typeof Context>
