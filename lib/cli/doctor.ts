/** `doctor`: checks whether Target can be used from this machine, and says what to do if not. */
import { randomUUID } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { connect } from 'node:tls'
import { counted } from '../diagnostics.ts'
import { compileArtifact } from '../decisioning/compile.ts'
import type { DeliveryRequest, DeliveryResponse } from '../schema/index.ts'
import { artifactOptions, messageOf, readArtifact } from './artifact-input.ts'
import { type Command, integerOf, textOf, UsageError, type Values } from './command.ts'
import { clean, type Terminal } from './terminal.ts'

const TIMEOUT = 10_000
const DAY = 86_400_000

export const doctorCommand: Command = {
  summary: 'Checks client code, edge, certificate, artifact and site, and says what to do. It sends nothing personal and counts no impression.',
  options: {
    client: { ...artifactOptions.client, description: 'Target client code. Required' },
    'organization-id': { ...artifactOptions['organization-id'], description: 'IMS organization id, such as 1234567890@AdobeOrg. Required' },
    host: { type: 'string', value: 'HOST', description: 'Your `serverDomain`, such as a CNAME. Default: <client>.tt.omtrdc.net' },
    mbox: { type: 'string', value: 'NAME', description: 'Mbox to prefetch. Default: the page load' },
    'property-token': artifactOptions['property-token'],
    environment: artifactOptions.environment,
    artifact: { ...artifactOptions.artifact, description: 'Address of the rule artifact. Default: the one of the client at Adobe\'s CDN' },
    calls: { type: 'string', value: 'COUNT', description: 'Delivery calls for the latency. Default: 20' },
    site: { type: 'string', value: 'URL', description: 'A page of your site, to check cookies and `trustProxy`' },
    http: { type: 'boolean', description: 'Plain http, for a local edge (`secure: false`)' },
    json: { type: 'boolean', description: 'Prints JSON' }
  },
  examples: [
    '--client acmeclient --organization-id 1234567890@AdobeOrg',
    '--client acmeclient --organization-id 1234567890@AdobeOrg --host target.shop.example --site https://www.shop.example/'
  ],
  run: runDoctor
}

/** The result of one check. */
interface Finding {
  check: string
  state: 'ok' | 'warning' | 'error'
  text: string
  /** What to do, unless the state is `ok`. */
  advice?: string
}

interface Patient {
  client: string
  organizationId: string
  host: string
  isCname: boolean
  origin: string
  secure: boolean
  calls: number
  mbox: string | undefined
  propertyToken: string | undefined
  site: URL | undefined
  values: Values
}

type Report = (check: string, state: Finding['state'], text: string, advice?: string) => void

async function runDoctor (values: Values, terminal: Terminal): Promise<number> {
  const patient = patientOf(values)
  const isJson = values.json === true
  const findings: Finding[] = []
  if (!isJson) announce(patient, terminal)
  const report: Report = (check, state, text, advice) => {
    const finding: Finding = { check, state, text: clean(text, 400), ...(advice !== undefined && { advice }) }
    findings.push(finding)
    if (!isJson) print(finding, terminal)
  }

  if (await checkNetwork(patient, report)) await checkDelivery(patient, report, terminal)
  else report('delivery', 'error', 'skipped: the edge cannot be reached')
  await checkArtifact(patient, report)
  if (patient.site !== undefined) await checkSite(patient.site, report)

  const errors = findings.filter(({ state }) => state === 'error').length
  const warnings = findings.filter(({ state }) => state === 'warning').length
  if (isJson) terminal.line(JSON.stringify({ client: patient.client, host: patient.host, findings }, null, 2))
  else terminal.line(`\n${errors + warnings === 0 ? terminal.style('green', 'All checks passed.') : `${counted(errors, 'error')}, ${counted(warnings, 'warning')}.`}`)
  return errors > 0 ? 1 : 0
}

function patientOf (values: Values): Patient {
  const client = textOf(values, 'client')
  const organizationId = textOf(values, 'organization-id')
  if (client === undefined) throw new UsageError('`--client` is required: the client code, in Target under Administration > Implementation')
  if (organizationId === undefined) throw new UsageError('`--organization-id` is required: the IMS organization id, such as 1234567890@AdobeOrg')
  const secure = values.http !== true
  const host = textOf(values, 'host') ?? `${client}.tt.omtrdc.net`
  if (/[/\s]/.test(host)) throw new UsageError(`\`--host\` must be a host without scheme or path, got ${JSON.stringify(host)}`)
  const siteText = textOf(values, 'site')
  if (siteText !== undefined && !URL.canParse(siteText)) throw new UsageError(`\`--site\` must be a URL, got ${JSON.stringify(siteText)}`)
  return {
    client,
    organizationId,
    host,
    isCname: !host.endsWith('.omtrdc.net') && isIP(host.replace(/:\d+$/, '')) === 0,
    origin: `${secure ? 'https' : 'http'}://${host}`,
    secure,
    calls: integerOf(values, 'calls', 1, 200) ?? 20,
    mbox: textOf(values, 'mbox'),
    propertyToken: textOf(values, 'property-token'),
    site: siteText === undefined ? undefined : new URL(siteText),
    values
  }
}

function announce ({ origin, calls, isCname, values, client, site, mbox }: Patient, terminal: Terminal): void {
  terminal.line('This calls:')
  terminal.line(`  ${clean(origin)}/rest/v1/delivery, ${counted(calls, 'prefetch', 'prefetches')} of ${mbox === undefined ? 'the page load' : `the mbox ${clean(mbox)}`} for a visitor made up here`)
  if (isCname) terminal.line(`  ${clean(origin)}/uptime?mboxClient=uptime3`)
  terminal.line(`  ${clean(textOf(values, 'artifact') ?? `the rule artifact of ${client} at assets.adobetarget.com`)}`)
  if (site !== undefined) terminal.line(`  ${clean(site.href)}, once`)
  terminal.line('A prefetch counts no impression. Nothing about you or your visitors is sent.\n')
}

function print ({ check, state, text, advice }: Finding, terminal: Terminal): void {
  const mark = state === 'ok' ? terminal.style('green', '✓') : state === 'warning' ? terminal.style('yellow', '!') : terminal.style('red', '✗')
  terminal.line(`${mark} ${check.padEnd(12)}${text}`)
  if (advice !== undefined) terminal.line(`  ${' '.repeat(12)}→ ${advice}`)
}

/** @returns whether the host can be called at all */
async function checkNetwork ({ host, origin, secure, isCname }: Patient, report: Report): Promise<boolean> {
  const [name, port] = splitHost(host, secure ? 443 : 80)
  try {
    const addresses = await lookup(name, { all: true })
    report('DNS', 'ok', `${name} is ${addresses.map(({ address }) => address).join(', ')}`)
  } catch (error) {
    report('DNS', 'error', `${name} does not resolve: ${messageOf(error)}`, isCname ? 'Check the CNAME record, and `serverDomain`.' : 'Check the client code; it is in Target under Administration > Implementation. A proxy needs the `dispatcher` option.')
    return false
  }
  if (!secure) return true
  try {
    const { daysLeft, subject } = await certificateOf(name, port)
    if (daysLeft < 7) report('certificate', 'error', `for ${subject}, ${daysLeft} days left`, 'Renew it now; if the CNAME is in Adobe\'s certificate program, contact Adobe.')
    else if (daysLeft < 21) report('certificate', 'warning', `for ${subject}, ${daysLeft} days left`, 'Make sure it is renewed.')
    else report('certificate', 'ok', `for ${subject}, ${daysLeft} days left`)
  } catch (error) {
    report('certificate', 'error', `TLS failed: ${messageOf(error)}`, `Check that ${origin} serves a certificate for this name, and that any proxy in between is trusted (NODE_EXTRA_CA_CERTS). For a local edge add --http.`)
    return false
  }
  if (isCname) await checkUptime(origin, report)
  return true
}

async function checkUptime (origin: string, report: Report): Promise<void> {
  const url = `${origin}/uptime?mboxClient=uptime3`
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT) })
    const text = (await response.text()).slice(0, 100)
    if (response.ok && /OK/i.test(text)) report('CNAME', 'ok', '/uptime returned OK')
    else report('CNAME', 'warning', `/uptime returned ${response.status} ${text}`, 'Check with Adobe that the CNAME points to Target\'s edge.')
  } catch (error) {
    report('CNAME', 'warning', `/uptime did not respond: ${messageOf(error)}`, 'Check with Adobe that the CNAME points to Target\'s edge.')
  }
}

async function checkDelivery (patient: Patient, report: Report, terminal: Terminal): Promise<void> {
  const { client, calls, mbox } = patient
  const sessionId = randomUUID()
  const times: number[] = []
  let last: Delivered | undefined
  for (let i = 0; i < calls; i++) {
    terminal.progress(`call ${i + 1} of ${calls}`)
    try {
      last = await deliver(patient, sessionId, last?.body?.id)
    } catch (error) {
      report('delivery', 'error', `call ${i + 1} failed: ${messageOf(error)}`, 'Check the route to the edge: firewall, proxy, egress allow list.')
      return
    }
    times.push(last.elapsed)
    if (last.status !== 200) {
      report('delivery', 'error', `the edge returned ${last.status}: ${last.body?.message ?? 'no reason given'}`, adviceFor(last.status))
      return
    }
  }
  const { body, date } = last!
  if (typeof body !== 'object' || body === null || body.client === undefined) {
    report('delivery', 'error', 'the response is not from the Delivery API', 'Check `serverDomain`: another server responds there.')
    return
  }
  if (body.client === client) report('delivery', 'ok', `answered for client ${client}`)
  else report('delivery', 'error', `answered for client ${body.client}, not ${client}`, 'The organization id belongs to another client code; correct one of them.')

  const options = body.prefetch?.pageLoad?.options ?? body.prefetch?.mboxes?.flatMap(({ options = [] }) => options) ?? []
  if (options.length > 0) report('offers', 'ok', `${counted(options.length, 'offer')} for ${mbox === undefined ? 'the page load' : `mbox ${mbox}`}`)
  else report('offers', 'warning', `no offer for ${mbox === undefined ? 'the page load' : `mbox ${mbox}`}`, 'Check that an activity is live there, that its audience fits a visitor without attributes, and `propertyToken`. Another mbox: --mbox.')

  times.sort((a, b) => a - b)
  const p50 = quantile(times, 0.5)
  const p99 = quantile(times, 0.99)
  const latency = `p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms over ${counted(times.length, 'call')}`
  if (p99 < 500) report('latency', 'ok', latency)
  else report('latency', 'warning', latency, 'Set `maxWait` so that no page waits that long, or decide on-device.')

  if (date !== undefined) {
    const skew = Math.round((Date.now() - date) / 1000)
    if (Math.abs(skew) <= 5) report('clock', 'ok', 'agrees with the edge\'s')
    else report('clock', Math.abs(skew) > 60 ? 'error' : 'warning', `${Math.abs(skew)} s ${skew > 0 ? 'ahead of' : 'behind'} the edge's`, 'Synchronise it (NTP): sessions, notifications and on-device schedules depend on it.')
  }
}

interface Delivered {
  status: number
  body: (DeliveryResponse & { message?: string }) | undefined
  elapsed: number
  /** The edge's clock, ms. */
  date: number | undefined
}

async function deliver ({ origin, organizationId, mbox, propertyToken, client }: Patient, sessionId: string, id: DeliveryRequest['id']): Promise<Delivered> {
  const request: DeliveryRequest = {
    requestId: randomUUID(),
    context: { channel: 'web', userAgent: 'fastify-adobe-target doctor', address: { url: `https://${client}.invalid/doctor` } },
    ...(id !== undefined && { id }),
    ...(propertyToken !== undefined && { property: { token: propertyToken } }),
    prefetch: mbox === undefined ? { pageLoad: {} } : { mboxes: [{ name: mbox, index: 0 }] }
  }
  const start = performance.now()
  const response = await fetch(`${origin}/rest/v1/delivery?imsOrgId=${encodeURIComponent(organizationId)}&sessionId=${sessionId}`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request), signal: AbortSignal.timeout(TIMEOUT)
  })
  const text = await response.text()
  const elapsed = performance.now() - start
  const date = Date.parse(response.headers.get('date') ?? '')
  let body: Delivered['body']
  try {
    body = JSON.parse(text)
  } catch {
    // Reported by the caller, which checks the body.
  }
  return { status: response.status, body, elapsed, date: Number.isNaN(date) ? undefined : date }
}

function adviceFor (status: number): string {
  if (status === 400 || status === 403) return 'Check client code and organization id; the edge says what it refuses.'
  if (status === 404) return 'Check `serverDomain`: there is no Delivery API there.'
  if (status === 420 || status === 429) return 'The edge limits calls; try again later.'
  return 'Try again; check Adobe\'s status page if the problem persists.'
}

async function checkArtifact ({ client, values }: Patient, report: Report): Promise<void> {
  try {
    const { payload, location, size, headers } = await readArtifact({ ...values, client })
    const remote: string[] = []
    const artifact = await compileArtifact(payload, { report: (problem) => remote.push(problem) })
    const activities = new Set([...artifact.mboxes.values(), ...artifact.views.values()].flat().map(({ activity }) => activity.id))
    const generated = Date.parse(String((payload as { meta?: { generatedAt?: unknown } }).meta?.generatedAt ?? headers['last-modified'] ?? ''))
    const age = Number.isNaN(generated) ? '' : `, ${Math.max(0, Math.round((Date.now() - generated) / DAY))} days old`
    report('artifact', 'ok', `${location}: version ${artifact.version}${age}, ${(size / 1024).toFixed(0)} kB, ${counted(activities.size, 'activity', 'activities')}, ${counted(artifact.mboxes.size, 'mbox', 'mboxes')}`)
    const needsEdge = [...artifact.remote.mboxes.keys(), ...artifact.remote.views.keys()]
    if (needsEdge.length > 0) report('on-device', 'warning', `needs the edge: ${needsEdge.slice(0, 20).join(', ')}`, 'Use `decisioningMethod: \'hybrid\'` for routes with them.')
    for (const problem of remote) report('on-device', 'warning', problem, 'This rule is skipped on-device; look at the activity\'s audience.')
  } catch (error) {
    report('artifact', 'warning', messageOf(error), 'Needed for on-device decisions only: switch them on in Target under Administration > Implementation, and check the client code.')
  }
}

/** Checks the site's own response for `cookies`, `trustProxy` and caches. */
async function checkSite (site: URL, report: Report): Promise<void> {
  let response: Response
  try {
    response = await fetch(site, { redirect: 'manual', headers: { 'user-agent': 'Mozilla/5.0 (fastify-adobe-target doctor)' }, signal: AbortSignal.timeout(TIMEOUT) })
    await response.body?.cancel()
  } catch (error) {
    report('site', 'warning', `${site.href} did not respond: ${messageOf(error)}`)
    return
  }
  const cookie = response.headers.getSetCookie().find((text) => text.startsWith('mbox='))
  if (cookie === undefined) {
    report('site', 'warning', `${site.href} answers ${response.status} and sets no mbox cookie`, 'Use a page whose route has `config.target`; with `cookies: false` or a public `Cache-Control` none is written.')
    return
  }
  report('site', 'ok', `${site.href} sets the mbox cookie`)
  const domain = /;\s*domain=([^;]+)/i.exec(cookie)?.[1]
  if (domain !== undefined) report('cookies', 'ok', `shared by ${domain}`)
  else if (isIP(site.hostname) === 0 && site.hostname.split('.').length > 2) report('cookies', 'warning', `for ${site.hostname} alone`, `If other hosts of the site use Target, or at.js does, set \`cookies.domain\` to the registered domain, such as .${site.hostname.split('.').slice(1).join('.')}`)
  else report('cookies', 'ok', `for ${site.hostname}`)

  if (site.protocol === 'https:' && !/;\s*secure/i.test(cookie)) {
    report('trustProxy', 'error', 'the cookie is not Secure although the site uses https', 'A proxy terminates TLS and Fastify does not know: set `trustProxy` in Fastify\'s options.')
  } else if (site.protocol === 'https:') report('trustProxy', 'ok', 'Fastify sees that the site uses https')
}

function certificateOf (host: string, port: number): Promise<{ daysLeft: number, subject: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, servername: isIP(host) === 0 ? host : '', timeout: TIMEOUT }, () => {
      const { valid_to: validTo, subject } = socket.getPeerCertificate()
      socket.destroy()
      resolve({ daysLeft: Math.floor((Date.parse(validTo) - Date.now()) / DAY), subject: String(subject?.CN ?? host) })
    })
    socket.once('timeout', () => socket.destroy(new Error(`no answer within ${TIMEOUT} ms`)))
    socket.once('error', reject)
  })
}

function splitHost (host: string, defaultPort: number): [string, number] {
  const [, name = host, port] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(host) ?? []
  return [name, port === undefined ? defaultPort : Number(port)]
}

const quantile = (sorted: number[], share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
