/** `edge`: runs the local edge, for any language and any test suite. */
import { once } from 'node:events'
import { watch } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { createEdge, type TargetEdge } from '../edge/index.ts'
import type { DeliveryRequest, DeliveryResponse, MboxResponse, Option } from '../schema/index.ts'
import { artifactOptions, messageOf, readArtifact } from './artifact-input.ts'
import { type Command, CommandError, integerOf, pairsOf, textOf, textsOf, UsageError, type Values } from './command.ts'
import { clean, type Terminal } from './terminal.ts'

export const edgeCommand: Command = {
  summary: 'Runs a local edge that answers the Delivery API and at.js from a rule artifact, and serves the artifact itself.',
  options: {
    ...artifactOptions,
    artifact: { ...artifactOptions.artifact, description: 'Rule artifact; a file is watched. Default: a sample with the mboxes hero, banner and checkout-flags' },
    port: { type: 'string', value: 'PORT', description: 'Port to listen on, 0 for any free one. Default: 8040' },
    host: { type: 'string', value: 'ADDRESS', description: 'Address to listen on. Default: 127.0.0.1' },
    latency: { type: 'string', value: 'MS', description: 'Milliseconds that each response takes. Default: 0' },
    offer: { type: 'string', multiple: true, value: 'MBOX=CONTENT', description: 'Fixes the offer of an mbox: html, JSON, or null for none; may be repeated' },
    fault: { type: 'string', multiple: true, value: 'KIND', description: 'Makes delivery calls fail: status:500, hang, reset, slow:2000, bad-json …\nartifact=KIND and geo=KIND do it for those' },
    quiet: { type: 'boolean', description: 'Prints no line for each request' }
  },
  examples: [
    '--port 8040',
    '--artifact rules.json --client acmeclient --latency 60',
    '--offer hero="<h1>B</h1>" --offer flags=\'{"express":true}\' --fault slow:2000'
  ],
  run: runEdge
}

async function runEdge (values: Values, terminal: Terminal): Promise<number> {
  const latency = integerOf(values, 'latency', 0, 2 ** 31 - 1) ?? 0
  const port = integerOf(values, 'port', 0, 65_535) ?? 8040
  const host = textOf(values, 'host') ?? '127.0.0.1'
  const offers = pairsOf(values, 'offer')
  const given = textOf(values, 'artifact')
  const input = given === undefined ? undefined : await readArtifact(values)

  const edge = createEdge({ latency, ...(input !== undefined && { artifact: input.payload }), ...settingsOf(values) })
  try {
    for (const [mbox, content] of offers) edge.offer(mbox, contentOf(mbox, content))
    for (const fault of textsOf(values, 'fault')) setFault(edge, fault)
  } catch (error) {
    throw new UsageError(messageOf(error))
  }
  if (values.quiet !== true) edge.addHook('onSend', async (request, reply, payload) => { terminal.line(lineOf(request, reply, payload)) })
  try {
    await edge.listen({ port, host })
  } catch (error) {
    await edge.close()
    throw new CommandError((error as NodeJS.ErrnoException).code === 'EADDRINUSE' ? `port ${port} is in use; choose another with --port` : messageOf(error))
  }

  terminal.line(`Local Target edge on http://${edge.host}`)
  terminal.line(`  plugin options: serverDomain: '${edge.host}', secure: false`)
  terminal.line(`  artifact:       ${input === undefined ? 'the sample' : clean(input.location)}, served as http://${edge.host}/${encodeURIComponent(textOf(values, 'client') ?? input?.client ?? 'acmeclient')}/production/v1/rules.json`)
  terminal.line('  Stop with Ctrl+C')
  const stopWatching = input?.file === undefined ? () => {} : watchFile(input.file, () => reload(edge, values, terminal))

  await Promise.race(['SIGINT', 'SIGTERM'].map((signal) => once(process, signal)))
  stopWatching()
  await edge.close()
  return 0
}

const settingsOf = (values: Values) => {
  const client = textOf(values, 'client')
  const organizationId = textOf(values, 'organization-id')
  return { ...(client !== undefined && { client }), ...(organizationId !== undefined && { organizationId }) }
}

/** The content of an offer: html, or parsed JSON if it is an object, a list or null. */
function contentOf (mbox: string, text: string): string | object | null {
  if (!/^\s*(?:[[{]|null\s*$)/.test(text)) return text
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(`\`--offer ${mbox}\` is not JSON: ${messageOf(error)}`)
  }
}

function setFault (edge: TargetEdge, text: string): void {
  const [, route = 'delivery', kind = ''] = /^(?:(artifact|geo|delivery)=)?(.*)$/s.exec(text)!
  edge.fault(kind as Parameters<TargetEdge['fault']>[0], { route: route as 'delivery' | 'artifact' | 'geo' })
}

/** One line for a request: time, status, request, decision and duration. */
function lineOf (request: FastifyRequest, reply: FastifyReply, payload: unknown): string {
  const time = new Date().toISOString().slice(11, 23)
  const status = reply.statusCode
  const ms = `${reply.elapsedTime.toFixed(1)} ms`
  const path = request.url.split('?', 1)[0]!
  if (path !== '/rest/v1/delivery') return `${time} ${status} ${request.method} ${clean(path)} (${ms})`
  const body = parsed<DeliveryResponse & { message?: string }>(payload)
  const what = status >= 400 ? body?.message ?? '' : describe(request.body as Partial<DeliveryRequest> | undefined, body)
  return `${time} ${status} delivery ${clean(what, 500)} (${ms})`
}

function describe (asked: Partial<DeliveryRequest> | undefined, body: DeliveryResponse | undefined): string {
  const parts: string[] = []
  for (const mode of ['execute', 'prefetch'] as const) {
    const answer = body?.[mode] as { mboxes?: MboxResponse[], pageLoad?: { options?: Option[] }, views?: Array<{ name?: string, options?: Option[] }> } | undefined
    const places = [
      ...(answer?.mboxes ?? []).map(({ name, options }) => `${name} → ${experiencesOf(options)}`),
      ...(answer?.pageLoad === undefined ? [] : [`page load → ${experiencesOf(answer.pageLoad.options)}`]),
      ...(answer?.views ?? []).map(({ name, options }) => `view ${name} → ${experiencesOf(options)}`)
    ]
    if (places.length > 0) parts.push(`${mode} ${places.join(', ')}`)
  }
  for (const { type, mbox, view } of Array.isArray(asked?.notifications) ? asked.notifications : []) parts.push(`notified ${type} of ${mbox?.name ?? (view === undefined ? 'the page load' : `view ${view.name}`)}`)
  return parts.join('; ') || 'nothing'
}

function experiencesOf (options: Option[] = []): string {
  const names = new Set(options.map(({ responseTokens = {}, type }) => responseTokens['experience.name'] ?? responseTokens['experience.id'] ?? type))
  return [...names].join(' + ') || 'no offer'
}

function parsed<Body> (payload: unknown): Body | undefined {
  try {
    return typeof payload === 'string' ? JSON.parse(payload) : undefined
  } catch {
    return undefined
  }
}

/** Watches the folder, since editors and builds replace the file. */
function watchFile (file: string, changed: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  const watcher = watch(dirname(resolve(file)), (_event, name) => {
    if (name !== null && name !== basename(file)) return
    clearTimeout(timer)
    // A write may come in several events.
    timer = setTimeout(changed, 100)
  })
  watcher.on('error', () => {})
  return () => {
    clearTimeout(timer)
    watcher.close()
  }
}

async function reload (edge: TargetEdge, values: Values, terminal: Terminal): Promise<void> {
  try {
    const { payload, location } = await readArtifact(values)
    await edge.publish(payload)
    terminal.line(`Read ${clean(location)} again`)
  } catch (error) {
    terminal.note(`The artifact stays as it was: ${clean(messageOf(error))}`)
  }
}
