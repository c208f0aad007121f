/**
 * Browser and platform, as named in Target's audiences.
 *
 * The names and the order of the checks are those of `@adobe/target-tools` 1.7.2. Its regular expressions take at least
 * quadratic time in the length of the user agent; these match the same in linear time.
 */
import type { ClientHints } from '../schema/index.ts'

/** Facts about the user agent, under the names used in conditions. */
export interface UserFacts {
  /** `edge`, `mobile safari`, `safari`, `chrome`, `firefox`, `ie` or `unknown`. */
  browserType: string
  /** `windows`, `mac`, `linux`, `iOS`, `Android`, `Unix`, `unknown`, or the value of the client hint. */
  platform: string
  /** Always `en`: Target's artifact supports no other. */
  locale: 'en'
  /** Major version; -1: unknown. */
  browserVersion: number
}

interface Browser {
  name: string
  version: number
}

const UNKNOWN: Browser = { name: 'unknown', version: -1 }

/** Reads browser and platform from the client hints where present, else from the user agent. */
export function userFacts (userAgent: unknown, clientHints: ClientHints | null | undefined): UserFacts {
  const agent = typeof userAgent === 'string' ? userAgent : ''
  const hints = clientHints ?? {}
  const brands = hints.browserUAWithFullVersion || hints.browserUAWithMajorVersion
  const seen = browserOfAgent(agent)
  const hinted = typeof brands === 'string' ? browserOfBrands(brands) : UNKNOWN
  return {
    browserType: hinted.name === 'unknown' ? seen.name : hinted.name,
    platform: platform(agent, hints.platform),
    locale: 'en',
    browserVersion: hinted.version >= 0 ? hinted.version : seen.version
  }
}

/** The version is -1 if the browser is unknown or its version is not a number. */
function browser (name: string, version: string | undefined): Browser {
  const major = Number.parseInt(version ?? '', 10)
  return { name, version: major >= 0 ? major : -1 }
}

function browserOfAgent (agent: string): Browser {
  const edge = /edg(?:e|ios|a)?\/([\w.]+)/i.exec(agent)
  if (edge !== null) return browser('edge', edge[1])

  const version = /version\/([\w.]+)/i.exec(agent)
  if (version !== null) {
    const rest = agent.slice(version.index + version[0].length)
    if (/mobile\/\w+\ssafari/i.test(rest)) return browser('mobile safari', version[1])
    if (/safari/i.test(rest)) return browser('safari', version[1])
  }

  const chrome = /chrome\/v?([\w.]+)/i.exec(agent)
  if (chrome !== null) return browser('chrome', chrome[1])

  const firefox = /firefox\/([\w.-]+)$/i.exec(agent)
  if (firefox !== null) return browser('firefox', firefox[1])

  const explorer = /(?:ms|\()ie\s([\w.]+)/i.exec(agent)
  if (explorer !== null) return browser('ie', explorer[1])

  // Internet Explorer 11 identifies as Trident, with its version after "rv".
  const trident = agent.search(/trident/i)
  const gecko = agent.search(/like\sgecko/i)
  if (trident !== -1 && trident < gecko) {
    const eleven = /rv[:\s]([\w.]+)/i.exec(agent.slice(trident, gecko))
    if (eleven !== null) return browser('ie', eleven[1])
  }
  return UNKNOWN
}

/** `Sec-CH-UA` and its full-version twin list brands as `"Google Chrome";v="120"`. */
function browserOfBrands (brands: string): Browser {
  for (const name of ['chrome', 'edge', 'safari', 'firefox']) {
    const at = brands.toLowerCase().indexOf(`${name}";v="`)
    if (at === -1) continue
    const version = /^[0-9.]+(?=")/.exec(brands.slice(at + name.length + 5))
    if (version !== null) return browser(name, version[0])
  }
  return UNKNOWN
}

const PLATFORMS: ReadonlyArray<readonly [string, RegExp]> = [
  ['iOS', /iPhone|iPad|iPod/],
  ['Android', /Android [0-9.]+;/],
  ['Linux', / Linux /],
  ['Unix', /FreeBSD|OpenBSD|CrOS/],
  ['Windows', /[( ]Windows /],
  ['Mac OS', /Macintosh;/]
]

/** Platforms whose names in the artifact's conditions differ from those in user agents and client hints. */
const TARGET_PLATFORMS: ReadonlyMap<string, string> = new Map([
  ['Windows', 'windows'],
  ['Macintosh', 'mac'],
  ['Mac OS', 'mac'],
  ['macOS', 'mac'],
  ['Linux', 'linux']
])

function platform (agent: string, hint: unknown): string {
  const name = typeof hint === 'string' ? hint : PLATFORMS.find(([, pattern]) => pattern.test(agent))?.[0] ?? 'unknown'
  return TARGET_PLATFORMS.get(name) ?? name
}
