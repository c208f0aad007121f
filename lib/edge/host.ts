/** The address of the edge. */
import { isIPv6, type AddressInfo } from 'node:net'
import { failure } from '../errors.ts'

const anywhere = new Map([['0.0.0.0', '127.0.0.1'], ['::', '::1']])

/**
 * Host and port of a server, as in a URL; IPv4 before IPv6.
 *
 * @param addresses that it listens on; a string is a socket's path
 * @throws FST_TARGET_NOT_READY if there is none: otherwise a client would call the real edge
 */
export function hostOf (addresses: ReadonlyArray<AddressInfo | string>): string {
  const listening = addresses.filter((address) => typeof address === 'object')
  const first = listening.find(({ address }) => !isIPv6(address)) ?? listening[0]
  if (first === undefined) throw failure('FST_TARGET_NOT_READY', 'edge.host is available once the edge listens on a port')
  const address = anywhere.get(first.address) ?? first.address
  return `${isIPv6(address) ? `[${address}]` : address}:${first.port}`
}
