/**
 * What the inspector may show of a visitor: ids are replaced by pseudonyms that are the same for the same visitor
 * within this process; IP addresses and values that look like passwords are removed.
 */
import { createHmac, randomBytes } from 'node:crypto'
import type { DeliveryRequest, DeliveryResponse } from '../schema/index.ts'

const SECRET_NAME = /token|secret|passw|session|auth|credential|api.?key|e.?mail|phone/i
const EMAIL = /[\w.+-]+@[\w-]+\.[\w.-]+/g

const HIDDEN = '(hidden)'

export class Redaction {
  readonly #key = randomBytes(32)

  /** The same pseudonym for the same id. */
  pseudonym (id: string): string {
    return `visitor-${createHmac('sha256', this.#key).update(id).digest('hex').slice(0, 8)}`
  }

  /** An address, without what looks secret in its query string. */
  url (url: string): string {
    const mark = url.indexOf('?')
    if (mark === -1) return url.replace(EMAIL, HIDDEN)
    const pairs = url.slice(mark + 1).split('&').map((pair) => {
      const [name = ''] = pair.split('=', 1)
      return SECRET_NAME.test(name) ? `${name}=${HIDDEN}` : pair
    })
    return `${url.slice(0, mark)}?${pairs.join('&')}`.replace(EMAIL, HIDDEN).replace(/[\w.+-]+%40[\w-]+\.[\w.-]+/gi, HIDDEN)
  }

  /** A Delivery API request or response. */
  message (message: DeliveryRequest | DeliveryResponse | undefined): unknown {
    return message === undefined ? undefined : this.#copy(message, '', 0)
  }

  #copy (value: unknown, name: string, depth: number): unknown {
    if (depth > 64) return '…'
    if (Array.isArray(value)) return value.map((entry) => this.#copy(entry, name, depth + 1))
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([member, inner]) => [member, this.#member(name, member, inner, depth)]))
    }
    return value
  }

  /** @param parent name of the object that has the member */
  #member (parent: string, member: string, value: unknown, depth: number): unknown {
    switch (member) {
      case 'tntId': case 'thirdPartyId': case 'marketingCloudVisitorId': return this.#id(value)
      case 'id': return parent === 'customerIds' ? this.#id(value) : this.#copy(value, member, depth + 1)
      case 'ipAddress': case 'blob': case 'authorizationToken': case 'supplementalDataId': return HIDDEN
      case 'token': return parent === 'qaMode' ? HIDDEN : value
      case 'url': case 'referringUrl': return typeof value === 'string' ? this.url(value) : value
    }
    if (parent === 'parameters' || parent === 'profileParameters') {
      if (SECRET_NAME.test(member)) return HIDDEN
      if (typeof value === 'string') return value.replace(EMAIL, HIDDEN)
    }
    return this.#copy(value, member, depth + 1)
  }

  #id (id: unknown): unknown {
    return typeof id === 'string' || typeof id === 'number' ? this.pseudonym(String(id).replace(/\.\d+_\d+$/, '')) : id
  }
}
