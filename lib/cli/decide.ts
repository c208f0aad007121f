/** `decide`: shows what a visitor gets on-device, and why, rule by rule. */
import { counted } from '../diagnostics.ts'
import { compileArtifact, type CompiledArtifact } from '../decisioning/compile.ts'
import { decide } from '../decisioning/decide.ts'
import { explain, type ExplainedRule, type Explanation } from '../decisioning/explain.ts'
import type { DeliveryRequest, Geo, VisitorId } from '../schema/index.ts'
import { artifactOptions, messageOf, readArtifact } from './artifact-input.ts'
import { type Command, CommandError, integerOf, pairsOf, textOf, textsOf, UsageError, type Values } from './command.ts'
import { clean, type Terminal } from './terminal.ts'

const GEO = new Map<string, keyof Geo>([['country', 'countryCode'], ['region', 'stateCode'], ['city', 'city'], ['latitude', 'latitude'], ['longitude', 'longitude']])

export const decideCommand: Command = {
  summary: 'Decides mboxes and views on-device and says why, rule by rule. It calls nothing but the artifact\'s address.',
  options: {
    ...artifactOptions,
    mbox: { type: 'string', multiple: true, value: 'NAME', description: 'Mbox to decide; may be repeated. Default: all of the artifact' },
    view: { type: 'string', multiple: true, value: 'NAME', description: 'View to decide; may be repeated' },
    visitor: { type: 'string', value: 'ID', description: 'tntId of the visitor. Default: visitor-1' },
    ecid: { type: 'string', value: 'ID', description: 'Experience Cloud id; decides the allocation before the tntId' },
    'third-party-id': { type: 'string', value: 'ID', description: 'The site\'s own id of the visitor' },
    url: { type: 'string', value: 'URL', description: 'Address of the page' },
    referrer: { type: 'string', value: 'URL', description: 'Address of the page before' },
    'user-agent': { type: 'string', value: 'TEXT', description: 'User agent of the browser' },
    parameter: { type: 'string', multiple: true, value: 'NAME=VALUE', description: 'Mbox parameter; may be repeated' },
    geo: { type: 'string', multiple: true, value: 'NAME=VALUE', description: `Place of the visitor: ${[...GEO.keys()].join(', ')}; may be repeated` },
    time: { type: 'string', value: 'ISO', description: 'Time of the decision, such as 2026-12-24T18:00Z. Default: now' },
    visitors: { type: 'string', value: 'COUNT', description: 'Decides for so many visitors and shows the split of experiences' },
    json: { type: 'boolean', description: 'Prints JSON' }
  },
  examples: [
    '--artifact rules.json --mbox hero --visitor 7f3c',
    '--client acmeclient --mbox banner --url "https://shop.example/?member=gold" --parameter member=gold',
    '--artifact rules.json --mbox hero --visitors 10000'
  ],
  run: runDecide
}

interface Asked {
  artifact: CompiledArtifact
  client: string
  request: DeliveryRequest
  parameters: Record<string, string>
  now: number
  locations: Array<{ kind: 'mbox' | 'view', name: string }>
}

async function runDecide (values: Values, terminal: Terminal): Promise<number> {
  const visitors = integerOf(values, 'visitors', 1, 1_000_000)
  const request = requestOf(values)
  const now = timeOf(values)
  const parameters = Object.fromEntries(pairsOf(values, 'parameter'))
  const input = await readArtifact(values)
  let artifact: CompiledArtifact
  try {
    artifact = await compileArtifact(input.payload, { report: (problem) => terminal.note(`warning: ${clean(problem)}`) })
  } catch (error) {
    throw new CommandError(`${input.location} is not a rule artifact: ${messageOf(error)}`)
  }
  const asked: Asked = { artifact, client: input.client, request, parameters, now, locations: locationsOf(values, artifact) }
  const isJson = values.json === true
  return visitors === undefined ? decideOne(asked, terminal, isJson) : decideMany(asked, visitors, terminal, isJson)
}

function decideOne (asked: Asked, terminal: Terminal, isJson: boolean): number {
  const explanations = asked.locations.map(({ kind, name }) => ({ ...explainFor(asked, asked.request, kind, name), content: contentOf(asked, kind, name) }))
  if (isJson) {
    terminal.line(JSON.stringify({ client: asked.client, artifact: asked.artifact.version, visitor: asked.request.id, locations: explanations }, null, 2))
  } else {
    explanations.forEach((explanation, index) => {
      if (index > 0) terminal.line()
      print(explanation, terminal)
    })
  }
  return explanations.some(({ decidedBy }) => decidedBy === 'unknown') ? 1 : 0
}

function print (explanation: Explanation & { content: unknown[] }, terminal: Terminal): void {
  const { kind, name, decidedBy, rules, content } = explanation
  const matched = rules.filter(({ outcome }) => outcome === 'matched')
  const title = terminal.style('bold', `${kind} ${clean(name)}`)
  if (decidedBy === 'unknown') return terminal.line(`${title}: in no activity of this artifact`)
  if (decidedBy === 'remote') terminal.line(`${title}: ${terminal.style('yellow', 'needs the edge; the artifact lists it as remote')}`)
  else if (matched.length === 0) terminal.line(`${title}: no offer`)
  for (const rule of matched) {
    terminal.line(`${title}: ${terminal.style('green', clean(labelOf(rule)))} in activity ${clean(rule.activity.name)} (${clean(rule.activity.id)}), bucket ${rule.bucket}`)
  }
  const width = Math.min(30, Math.max(0, ...rules.map((rule) => labelOf(rule).length)))
  for (const rule of rules) {
    const mark = rule.outcome === 'matched' ? terminal.style('green', '✓') : rule.outcome === 'not-matched' ? terminal.style('red', '✗') : terminal.style('dim', '-')
    terminal.line(`  ${mark} ${String(rule.position).padStart(2)}. ${clean(labelOf(rule), 30).padEnd(width)}  ${clean(rule.reason, 400)}`)
  }
  for (const one of content) terminal.line(terminal.style('dim', `  offer: ${clean(typeof one === 'string' ? one : JSON.stringify(one), Math.max(40, terminal.width - 12))}`))
}

function decideMany (asked: Asked, count: number, terminal: Terminal, isJson: boolean): number {
  const splits = asked.locations.map(({ kind, name }) => ({ kind, name, experiences: new Map<string, number>() }))
  for (let i = 0; i < count; i++) {
    if (i % 1000 === 0) terminal.progress(`${i} of ${count} visitors`)
    const request = { ...asked.request, id: { tntId: `visitor-${i + 1}` } }
    for (const split of splits) {
      const matched = explainFor(asked, request, split.kind, split.name).rules.filter(({ outcome }) => outcome === 'matched')
      const label = matched.length === 0 ? 'no offer' : matched.map(labelOf).join(' + ')
      split.experiences.set(label, (split.experiences.get(label) ?? 0) + 1)
    }
  }
  const sorted = splits.map(({ kind, name, experiences }) => ({ kind, name, visitors: count, experiences: Object.fromEntries([...experiences].sort(([a], [b]) => a < b ? -1 : 1)) }))
  if (isJson) {
    terminal.line(JSON.stringify(sorted, null, 2))
    return 0
  }
  for (const { kind, name, experiences } of sorted) {
    terminal.line(terminal.style('bold', `${kind} ${clean(name)}`) + `, ${counted(count, 'visitor')}`)
    const width = Math.min(40, Math.max(...Object.keys(experiences).map((label) => label.length)))
    for (const [label, visitors] of Object.entries(experiences)) {
      const share = visitors / count
      terminal.line(`  ${clean(label, 40).padEnd(width)}  ${terminal.style('cyan', terminal.bar(share, 30))} ${(share * 100).toFixed(1).padStart(5)} %  ${visitors}`)
    }
  }
  return 0
}

const explainFor = ({ artifact, client, parameters, now }: Asked, request: DeliveryRequest, kind: 'mbox' | 'view', name: string) =>
  explain(artifact, request, { kind, name, parameters }, { client, now })

/** The content returned by the decision itself, so that the output does not rest on the explanation alone. */
function contentOf ({ artifact, client, request, parameters, now }: Asked, kind: 'mbox' | 'view', name: string): unknown[] {
  const location = { name, parameters }
  const { response } = decide(artifact, { ...request, prefetch: kind === 'mbox' ? { mboxes: [{ ...location, index: 0 }] } : { views: [location] } }, { client, now })
  const answers = kind === 'mbox' ? response.prefetch?.mboxes : response.prefetch?.views
  return (answers ?? []).flatMap(({ options = [] }) => options.map(({ content }) => content))
}

const labelOf = ({ experience, activity }: ExplainedRule): string => experience.name || `${activity.name || activity.id}: experience ${experience.id}`

function locationsOf (values: Values, { mboxes, views }: CompiledArtifact): Asked['locations'] {
  const asked = [
    ...textsOf(values, 'mbox').map((name) => ({ kind: 'mbox' as const, name })),
    ...textsOf(values, 'view').map((name) => ({ kind: 'view' as const, name }))
  ]
  if (asked.length > 0) return asked
  return [...[...mboxes.keys()].map((name) => ({ kind: 'mbox' as const, name })), ...[...views.keys()].map((name) => ({ kind: 'view' as const, name }))]
}

function requestOf (values: Values): DeliveryRequest {
  const address = { ...optional('url', textOf(values, 'url')), ...optional('referringUrl', textOf(values, 'referrer')) }
  const geo: Geo = {}
  for (const [name, value] of pairsOf(values, 'geo')) {
    const member = GEO.get(name)
    if (member === undefined) throw new UsageError(`\`--geo\` must name one of ${[...GEO.keys()].join(', ')}, got ${JSON.stringify(name)}`)
    Object.assign(geo, { [member]: member === 'latitude' || member === 'longitude' ? Number(value) : value })
  }
  const id: VisitorId = { ...optional('marketingCloudVisitorId', textOf(values, 'ecid')), ...optional('thirdPartyId', textOf(values, 'third-party-id')), ...optional('tntId', textOf(values, 'visitor')) }
  return {
    context: { channel: 'web', address, ...optional('userAgent', textOf(values, 'user-agent')), geo },
    id: Object.keys(id).length === 0 ? { tntId: 'visitor-1' } : id,
    ...optional('property', textOf(values, 'property-token') === undefined ? undefined : { token: textOf(values, 'property-token')! })
  }
}

function timeOf (values: Values): number {
  const text = textOf(values, 'time')
  const time = text === undefined ? Date.now() : Date.parse(text)
  if (Number.isNaN(time)) throw new UsageError(`\`--time\` must be a date such as 2026-12-24T18:00Z, got ${JSON.stringify(text)}`)
  return time
}

const optional = <Name extends string, Value>(name: Name, value: Value | undefined): { [Key in Name]?: Value } =>
  (value === undefined ? {} : { [name]: value }) as { [Key in Name]?: Value }
