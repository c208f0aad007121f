/** Exports a page: as a command, as a test, as JSON. Visitors are pseudonyms in all of them. */
import type { ClientDetails } from '../client/client.ts'
import { faultsOf, nameOf, visitorOf, type RecordedPage } from './record.ts'
import type { Redaction } from './redact.ts'

/** Within single quotes, a shell interprets nothing but the quote itself. */
const shellQuote = (text: string) => `'${text.replaceAll('\'', '\'\\\'\'')}'`

/** The Delivery API calls of a page, as commands. */
export function asCurl (page: RecordedPage, { client, organizationId }: ClientDetails, redaction: Redaction): string {
  const commands = page.calls.flatMap(({ work }) => work).map(({ request, ...one }) => {
    const body = JSON.stringify(redaction.message(request)).replace(/"ipAddress":"\(hidden\)"/g, '"ipAddress":"203.0.113.7"')
    const host = one.kind === 'call' && one.host !== undefined ? one.host : `${client}.tt.omtrdc.net`
    const scheme = /^(localhost|127\.|\[::1\])/.test(host) ? 'http' : 'https'
    const url = `${scheme}://${host}/rest/v1/delivery?client=${encodeURIComponent(client)}&sessionId=inspector&imsOrgId=${encodeURIComponent(organizationId)}`
    return `curl ${shellQuote(url)} \\\n  -H 'content-type: application/json' \\\n  -d ${shellQuote(body)}`
  })
  return commands.join('\n\n')
}

/** JavaScript of a value, safe in any source text. */
const literal = (value: unknown): string => JSON.stringify(value, null, 2).replace(/[\u2028\u2029<]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)

const IMPORTS = [
  "import assert from 'node:assert/strict'",
  "import { test } from 'node:test'",
  "import { createEdge } from 'fastify-adobe-target/edge'",
  "import { buildApp } from '../app.js'"
].join('\n')

/** A test with the testing kit: the page with the offers that it got. */
export function asTest (page: RecordedPage, { client }: ClientDetails, redaction: Redaction): string {
  const url = redaction.url(page.url)
  const lines = page.offers.filter(({ mbox }, index, all) => mbox !== undefined && all.findIndex((other) => other.mbox === mbox) === index).map(({ mbox, reason }) => {
    if (reason === 'not-requested' || reason === 'opted-out') return undefined
    return `  edge.offer(${literal(mbox)}, ${indent(literal(contentOf(page, mbox!)))})`
  })
  const failed = page.calls.find(({ error }) => error !== undefined)?.error
  const fault = failed === undefined ? undefined : failed.code === 'FST_TARGET_TIMEOUT' ? '  edge.fault(\'hang\')' : '  edge.fault(\'status:500\')'
  const experiences = page.offers.flatMap((offer) => offer.experience?.name === undefined ? [] : [`${nameOf(offer)}: ${offer.experience.name}`])
  const title = `${page.method} ${page.route ?? url}${experiences.length > 0 ? ` with ${experiences.join(', ')}` : ''}`
  return `${IMPORTS}

test(${literal(title)}, async (t) => {
  const edge = createEdge({ client: ${literal(client)} })
  t.after(() => edge.close())
  await edge.listen()
  const app = await buildApp({ serverDomain: edge.host, secure: false })
  t.after(() => app.close())
${[...lines.filter((line) => line !== undefined), ...fault === undefined ? [] : [fault]].join('\n')}

  const response = await app.inject({ method: ${literal(page.method)}, url: ${literal(url)}, headers: { 'user-agent': ${literal(page.userAgent)} } })
  assert.equal(response.statusCode, ${page.statusCode})
})
`
}

const indent = (text: string) => text.replaceAll('\n', '\n  ')

/** What Target answered for an mbox; null for nothing. */
function contentOf ({ calls }: RecordedPage, mbox: string): unknown {
  for (const { work } of calls) {
    for (const { response } of work) {
      for (const { name, options } of [...response?.execute?.mboxes ?? [], ...response?.prefetch?.mboxes ?? []]) {
        const content = name === mbox ? options?.find((option) => option.content !== undefined && option.content !== null)?.content : undefined
        if (content !== undefined) return content
      }
    }
  }
  return null
}

/** The complete record of a page. */
export function asJson (page: RecordedPage, redaction: Redaction): object {
  const { size, arrivedAt, url, calls, ...facts } = page
  const visitor = visitorOf(page)
  return {
    ...facts,
    at: new Date(page.at).toISOString(),
    url: redaction.url(url),
    visitor: visitor === undefined ? undefined : redaction.pseudonym(visitor),
    faults: faultsOf(page),
    calls: calls.map(({ work, ...call }) => ({
      ...call,
      work: work.map(({ startedAt, request, response, size, ...one }) => {
        const { artifact, context, ...others } = one as typeof one & { artifact?: unknown, context?: unknown }
        return { ...others, started: startedAt - arrivedAt, request: redaction.message(request), response: redaction.message(response) }
      })
    }))
  }
}
