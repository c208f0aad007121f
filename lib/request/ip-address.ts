/** Reads the visitor's IP address from the formats used by proxies. */
import { isIP } from 'node:net'

/** `203.0.113.9:51234`, `[2001:db8::1]:443` and `[2001:db8::1]`. */
const IPV4_WITH_PORT = /^(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}$/
const IPV6_IN_BRACKETS = /^\[([\da-f:.]+)\](?::\d{1,5})?$/i

/** An address without its port (Azure Application Gateway adds one to `X-Forwarded-For`); undefined if it is not an address. */
export function ipOf (text: string | undefined): string | undefined {
  if (text === undefined || isIP(text) !== 0) return text
  const trimmed = text.trim()
  const [, ip = trimmed] = IPV4_WITH_PORT.exec(trimmed) ?? IPV6_IN_BRACKETS.exec(trimmed) ?? []
  return isIP(ip) === 0 ? undefined : ip
}
