/**
 * Checks that a response has the shape that the rest of the code relies on: lists are lists of objects, ids are strings.
 *
 * The schemas in `schema/response.ts` are stricter. They are not applied to responses: an edge that adds an option type
 * tomorrow must not cost a page its offers, and this check takes a microsecond.
 */

/** Describes what is wrong with a value: a path into it and what is expected there, never any content. */
type Check = (value: unknown) => string | undefined

const text: Check = (value) => typeof value === 'string' ? undefined : ' is not a string'
const number: Check = (value) => typeof value === 'number' ? undefined : ' is not a number'

/** An object whose members pass their checks if present. A `null` counts as absent and is removed. */
function object (members: Record<string, Check> = {}): Check {
  const checks = Object.entries(members)
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return ' is not an object'
    const holder = value as Record<string, unknown>
    for (const [name, check] of checks) {
      const member = holder[name]
      if (member === undefined) continue
      if (member === null) {
        delete holder[name]
        continue
      }
      const wrong = check(member)
      if (wrong !== undefined) return `.${name}${wrong}`
    }
  }
}

function list (check: Check): Check {
  return (value) => {
    if (!Array.isArray(value)) return ' is not a list'
    for (let index = 0; index < value.length; index++) {
      const wrong = check(value[index])
      if (wrong !== undefined) return `[${index}]${wrong}`
    }
  }
}

const analytics = object({ payload: object() })
const options = list(object({ type: text, eventToken: text, responseTokens: object() }))
const metrics = list(object({ type: text, selector: text, eventToken: text, analytics }))
const pageLoad = object({ options, metrics, analytics, state: text, trace: object() })
const mboxes = list(object({ index: number, name: text, options, metrics, analytics, state: text, trace: object() }))
const views = list(object({ name: text, key: text, options, metrics, analytics, state: text, trace: object() }))

const response = object({
  status: number,
  requestId: text,
  id: object({ tntId: text, thirdPartyId: text, marketingCloudVisitorId: text, customerIds: list(object()) }),
  client: text,
  edgeHost: text,
  execute: object({ pageLoad, mboxes }),
  prefetch: object({ pageLoad, mboxes, views, metrics }),
  notifications: list(object({ id: text, trace: object() })),
  telemetryServerToken: text
})

/**
 * Checks a parsed response.
 *
 * @returns what is wrong, for an error message; `undefined` if the value can be used as a `DeliveryResponse`
 */
export function findFault (value: unknown): string | undefined {
  const wrong = response(value)
  return wrong && `the response${wrong}`
}
