/** OpenFeature's own suite (https://github.com/open-feature/spec), against the provider on the local edge. */
import { AstBuilder, compile, GherkinClassicTokenMatcher, Parser } from '@cucumber/gherkin'
import { IdGenerator, type PickleStep } from '@cucumber/messages'
import {
  AsyncLocalStorageTransactionContextPropagator, OpenFeature,
  type Client, type EvaluationContext, type EvaluationDetails, type FlagValue, type Hook, type HookContext, type Provider
} from '@openfeature/server-sdk'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createTargetClient } from '../../lib/index.ts'
import { TargetProvider } from '../../lib/openfeature/index.ts'
import { client, organizationId, startEdge } from '../support/helper.ts'
import { root } from '../support/project.ts'
import '../support/no-unhandled-rejections.ts'
import { until } from '../support/wait.ts'

// Beside the repository, or beside the folder of its worktrees.
const suite = ['../shared', '../../shared'].map((folder) => join(root, folder, 'reference/openfeature')).find((folder) => existsSync(folder))
if (suite === undefined) t.plan(0, 'OpenFeature\'s suite is not here; test/openfeature/provider.test.ts covers the same ground')
else await run(suite)

interface SuiteFlag { variants: Record<string, unknown>, defaultVariant?: string | null, contextEvaluator?: string, flagMetadata?: Record<string, unknown> | null }

/** The suite's flags as an artifact: a flag is an mbox, a variant an experience, a condition on the context one on parameters. */
function artifactOf (flags: Record<string, SuiteFlag>) {
  const conditionOf = (evaluator: string) => ({
    and: evaluator.split('?')[0]!.split('&&').map((part) => {
      const [, not, name, operator, value] = /^\s*(!?)(\w+)\s*(?:(==|>)\s*(.+?))?\s*$/.exec(part)!
      return not === '!' ? { '==': [{ var: `mbox.${name}` }, 'false'] } : { [operator!]: [{ var: `mbox.${name}` }, operator === '>' ? Number(value) : value!.replaceAll('\'', '')] }
    })
  })
  let activity = 0
  const mboxes = Object.entries(flags).map(([name, { variants, defaultVariant, contextEvaluator, flagMetadata }]) => {
    activity++
    const rule = (variant: string, condition: unknown) => ({
      ruleKey: String(activity),
      activityId: activity,
      meta: { 'activity.id': activity, 'activity.type': 'xt', 'experience.id': `${Object.keys(variants).indexOf(variant)}-${condition === true}`, 'experience.name': variant, ...flagMetadata },
      condition,
      consequence: { name, options: [{ type: 'json', content: variants[variant], eventToken: `${name}-${variant}` }] }
    })
    const targeted = contextEvaluator === undefined ? [] : [rule(/\? '([^']+)'/.exec(contextEvaluator)![1]!, conditionOf(contextEvaluator))]
    return [name, [...targeted, ...defaultVariant === undefined || defaultVariant === null ? [] : [rule(defaultVariant, true)]]] as const
  })
  return {
    version: '1.0.0',
    meta: { clientCode: client, environment: 'production' },
    globalMbox: 'target-global-mbox',
    responseTokens: ['activity.id', 'activity.type', 'experience.id', 'experience.name', 'string', 'integer', 'float', 'boolean'],
    remoteMboxes: [],
    remoteViews: [],
    localMboxes: mboxes.map(([name]) => name),
    localViews: [],
    rules: { mboxes: Object.fromEntries(mboxes), views: {} }
  }
}

/** What a scenario has come to. */
interface World {
  client: Client
  type: string
  key: string
  fallback: FlagValue
  context: EvaluationContext
  details?: EvaluationDetails<FlagValue>
  hooks: { stage: string, details?: unknown }[]
  levels: string[]
  merged?: EvaluationContext
  frozen?: string
}

async function run (suite: string) {
  const flags = JSON.parse(readFileSync(join(suite, 'test-flags.json'), 'utf8')) as Record<string, SuiteFlag>
  // The deprecated suite's, which has no data of its own.
  flags['context-aware'] = { variants: { internal: 'INTERNAL', external: 'EXTERNAL' }, defaultVariant: 'external', contextEvaluator: "fn == 'Sulisław' && ln == 'Świętopełk' && age == '29' && !customer ? 'internal' : ''" }
  const edge = await startEdge(t, { artifact: artifactOf(flags) })
  const onEdge = { client, organizationId, serverDomain: edge.host, secure: false }
  const artifactLocation = `http://${edge.host}/${client}/production/v1/rules.json`
  const target = createTargetClient({ ...onEdge, decisioningMethod: 'on-device', artifactLocation, pollingInterval: 0 })
  const asking = createTargetClient(onEdge)
  t.teardown(async () => { await OpenFeature.clearProviders(); await target.close(); await asking.close() })
  OpenFeature.setTransactionContextPropagator(new AsyncLocalStorageTransactionContextPropagator())
  // Flags that are switched off: outside a request the provider's own option says so.
  const options = { enabled: (_context: EvaluationContext, key: string) => !key.includes('disabled'), metadata: ['string', 'integer', 'float', 'boolean'] }
  const stable = new TargetProvider(target, options)

  let domains = 0
  const clientOf = async (provider: Provider, wait = true) => {
    const domain = `scenario-${++domains}`
    if (wait) await OpenFeature.setProviderAndWait(domain, provider).catch(() => {})
    else OpenFeature.setProvider(domain, provider)
    return OpenFeature.getClient(domain)
  }
  const closedClient = async () => {
    const closed = createTargetClient(onEdge)
    await closed.close()
    return closed
  }
  /** A client whose artifact is not to be had, as long as a test wants. */
  const pending = (t: Test, artifactLocation: string) => {
    const client = createTargetClient({ ...onEdge, decisioningMethod: 'on-device', artifactLocation, pollingInterval: 0, logger: { debug () {}, error () {} } })
    t.teardown(() => client.close())
    return client
  }
  const providers: Record<string, (t: Test) => Promise<Client>> = {
    stable: () => clientOf(stable),
    'not ready': (t) => clientOf(new TargetProvider(pending(t, `http://${edge.host}/nowhere/production/v1/rules.json`), options), false),
    error: (t) => clientOf(new TargetProvider(pending(t, `http://${edge.host}/nowhere/production/v1/rules.json`), { ...options, readyTimeout: 20 })),
    fatal: async () => await clientOf(new TargetProvider(await closedClient(), options)),
    stale: async (t) => {
      const own = pending(t, artifactLocation)
      const client = await clientOf(new TargetProvider(own, options))
      edge.fault('status:500', { times: 1, route: 'artifact' })
      await own.refresh().catch(() => {})
      await until(() => client.providerStatus === 'STALE')
      return client
    }
  }

  const read = (type: string, text: string): FlagValue => {
    switch (type.toLowerCase()) {
      case 'boolean': return text === 'true'
      case 'integer': case 'float': case 'number': return Number(text)
      case 'object': return JSON.parse(text.replaceAll('\\"', '"'))
      case 'null': return null as unknown as FlagValue
    }
    return text
  }
  const evaluate = async (world: World, options?: { hooks: Hook[] }) => {
    const { client, type, key, fallback, context } = world
    const hooks = options ?? {}
    switch (type.toLowerCase()) {
      case 'boolean': world.details = await client.getBooleanDetails(key, fallback as boolean, context, hooks); break
      case 'string': world.details = await client.getStringDetails(key, fallback as string, context, hooks); break
      case 'object': world.details = await client.getObjectDetails(key, fallback as object as never, context, hooks) as EvaluationDetails<FlagValue>; break
      default: world.details = await client.getNumberDetails(key, fallback as number, context, hooks)
    }
  }
  const recording = (world: World, name = ''): Hook => ({
    before () { world.hooks.push({ stage: `${name}before` }) },
    after (_context, details) { world.hooks.push({ stage: `${name}after`, details }) },
    error () { world.hooks.push({ stage: `${name}error` }) },
    finally (_context, details) { world.hooks.push({ stage: `${name}finally`, details }) }
  })
  const flag = (world: World, type: string, key: string, fallback: string) => { Object.assign(world, { type, key, fallback: read(type, fallback) }) }
  /** The context at each level of the SDK's. */
  const mergeContext = async (world: World, entries: [level: string, key: string, value: string][]) => {
    const at = (level: string) => Object.fromEntries(entries.filter(([of]) => of === level).map(([, key, value]) => [key, value]))
    edge.reset()
    OpenFeature.setContext(at('API'))
    world.client.setContext(at('Client'))
    const hooks = [{ before: (_context: HookContext) => at('Before Hooks') }]
    await new Promise<void>((resolve, reject) => OpenFeature.setTransactionContext(at('Transaction'), () => {
      world.client.getBooleanDetails('boolean-flag', false, at('Invocation'), { hooks }).then(() => resolve(), reject)
    }))
    OpenFeature.setContext({})
    world.merged = edge.requests.at(-1)!.body.prefetch.mboxes[0].parameters
  }
  let entries: [string, string, string][] = []

  type Step = (t: Test, world: World, ...parts: string[]) => unknown
  const table = ({ argument }: PickleStep) => argument?.dataTable?.rows.map(({ cells }) => cells.map(({ value }) => value)) ?? []
  const steps: [RegExp, (t: Test, world: World, step: PickleStep, ...parts: string[]) => unknown][] = []
  const step = (pattern: RegExp, run: Step) => steps.push([pattern, (t, world, _step, ...parts) => run(t, world, ...parts)])
  const tableStep = (pattern: RegExp, run: (t: Test, world: World, rows: string[][], ...parts: string[]) => unknown) => steps.push([pattern, (t, world, step, ...parts) => run(t, world, table(step), ...parts)])

  step(/^a stable provider with retrievable context is registered$/, async (_t, world) => { entries = []; world.client = await clientOf(new TargetProvider(asking)) })
  step(/^an? (stable|not ready|error|fatal|stale) provider$/, async (t, world, kind) => { world.client = await providers[kind!]!(t) })
  step(/^the provider status should be "(.*)"$/, (t, { client }, status) => t.equal(client.providerStatus, status))
  step(/^an? (\w+)-flag with key "(.*)" and a fallback value "(.*)"$/i, (_t, world, type, key, fallback) => flag(world, type!, key!, fallback!))
  step(/^a context containing a key "(.*)", with type "(.*)" and with value "(.*)"$/, (_t, world, key, type, value) => { world.context[key!] = read(type!, value!) as never })
  step(/^a context containing a key "(.*)" with null value$/, (_t, world, key) => { world.context[key!] = null as never })
  step(/^the flag was evaluated with details( asynchronously)?$/, (_t, world) => evaluate(world))
  step(/^the evaluation should complete without blocking$/, (t, { details }) => t.ok(details))
  step(/^the resolved details value should be "(.*)"$/, (t, { details, type }, value) => t.same(details!.value, read(type, value!)))
  step(/^the reason should be "(.*)"$/, (t, { details }, reason) => t.equal(details!.reason, reason))
  step(/^the error-code should be "(.*)"$/, (t, { details }, code) => t.equal(details!.errorCode, code))
  step(/^the variant should be "([^"]*)"$/, (t, { details }, variant) => t.equal(details!.variant, variant))
  step(/^the resolved details (?:flag )?key should be "(.*)"$/, (t, { details }, key) => t.equal(details!.flagKey, key))
  step(/^the (?:evaluation details|resolved details) (?:should )?(?:contain|include).*$/, (t, { details, key }) => t.match(details, { flagKey: key }))
  step(/^the flag key should be "(.*)"$/, (t, { details }, key) => t.equal(details!.flagKey, key))

  step(/^an evaluation context with modifiable data$/, (_t, world) => { world.context = { a: 1, nested: { b: [2] } }; world.frozen = JSON.stringify(world.context) })
  step(/^the original evaluation context should remain unmodified$/, (t, { context, frozen }) => t.equal(JSON.stringify(context), frozen))
  step(/^the evaluation details should be immutable$/, (t, { details }) => t.ok(Object.isFrozen(details!.flagMetadata)))
  step(/^evaluation options containing specific hooks$/, () => {})
  step(/^the flag was evaluated with details using the evaluation options$/, (_t, world) => evaluate(world, { hooks: [recording(world, 'one '), recording(world, 'two ')] }))
  step(/^the specified hooks should execute during evaluation$/, (t, { hooks }) => t.equal(hooks.length, 6))
  step(/^the hook order should be maintained$/, (t, { hooks }) => t.same(hooks.map(({ stage }) => stage), ['one before', 'two before', 'two after', 'one after', 'two finally', 'one finally']))

  step(/^a client with added hook$/, (_t, world) => { world.client.addHooks(recording(world)) })
  step(/^the "(\w+)" hook should have been executed$/, (t, { hooks }, stage) => t.ok(hooks.some((hook) => hook.stage === stage)))
  tableStep(/^the "(.*)" hooks should be called with evaluation details$/, (t, { hooks }, rows, stages) => {
    const names: Record<string, string> = { flag_key: 'flagKey', error_code: 'errorCode' }
    for (const stage of stages!.split(', ')) {
      const details = hooks.find((hook) => hook.stage === stage)!.details as Record<string, unknown>
      for (const [type, name, value] of rows.slice(1)) t.equal(details[names[name!] ?? name!], value === 'null' ? undefined : read(type!, value!), `${stage}: ${name}`)
    }
  })
  tableStep(/^the resolved metadata should contain$/, (t, { details }, rows) => {
    for (const [name, type, value] of rows.slice(1)) t.equal(details!.flagMetadata[name!], read(type!, value!), `${name}`)
  })
  step(/^the resolved metadata is empty$/, (t, { details }) => t.same(details!.flagMetadata, {}))

  const LEVELS: string[][] = []
  tableStep(/^A table with levels of increasing precedence$/, (_t, _world, rows) => { LEVELS.splice(0, LEVELS.length, ...rows) })
  step(/^A context entry with key "(.*)" and value "(.*)" is added to the "(.*)" level$/, (_t, _world, key, value, level) => { entries.push([level!, key!, value!]) })
  step(/^Context entries for each level from API level down to the "(.*)" level, with key "(.*)" and value "(.*)"$/, (_t, _world, last, key) => {
    for (const [level] of LEVELS) {
      entries.push([level!, key!, level!])
      if (level === last) break
    }
  })
  step(/^Some flag was evaluated$/, (_t, world) => mergeContext(world, entries))
  step(/^The merged context contains an entry with key "(.*)" and value "(.*)"$/, (t, { merged }, key, value) => t.equal(merged![key!], value))

  // The deprecated suite.
  step(/^an? (\w+) flag with key "(.*)" is evaluated (with details and|with) (?:a )?(?:null )?default value ?"?(.*?)"?$/, (_t, world, type, key, _how, fallback) => {
    flag(world, type!, key!, type === 'object' ? 'null' : fallback!)
    return evaluate(world)
  })
  step(/^the resolved (\w+) (?:details )?value should be "?([^"]*)"?$/, (t, { details }, type, value) => t.equal(details!.value, read(type!, value!)))
  step(/^the resolved (\w+) details value should be "?([^"]*)"?, the variant should be "(.*)", and the reason should be "(.*)"$/, (t, { details }, type, value, variant, reason) => t.match(details, { value: read(type!, value!), variant, reason }))
  step(/^the resolved object (?:details )?value should be contain fields "(.*)", "(.*)", and "(.*)", with values "(.*)", "(.*)" and (\d+), respectively$/, (t, { details }, a, b, c, x, y, z) =>
    t.same(details!.value, { [a!]: x === 'true', [b!]: y, [c!]: Number(z) }))
  step(/^the variant should be "(.*)", and the reason should be "(.*)"$/, (t, { details }, variant, reason) => t.match(details, { variant, reason }))
  step(/^context contains keys "(.*)", "(.*)", "(.*)", "(.*)" with values "(.*)", "(.*)", (\d+), "(.*)"$/, (_t, world, a, b, c, d, w, x, y, z) => {
    world.context = { [a!]: w!, [b!]: x!, [c!]: Number(y), [d!]: z === 'true' }
  })
  step(/^a flag with key "(.*)" is evaluated with default value "(.*)"$/, (_t, world, key, fallback) => { flag(world, 'string', key!, fallback!); return evaluate(world) })
  step(/^the resolved string response should be "(.*)"$/, (t, { details }, value) => t.equal(details!.value, value))
  step(/^the resolved flag value is "(.*)" when the context is empty$/, async (t, world, value) => {
    world.context = {}
    await evaluate(world)
    t.equal(world.details!.value, value)
  })
  step(/^a (?:non-existent )?string flag with key "(.*)" is evaluated (?:as an integer, )?with details and a fallback value "?(.*?)"?$/, (_t, world, key, fallback) => {
    flag(world, Number.isNaN(Number(fallback)) ? 'string' : 'integer', key!, fallback!)
    return evaluate(world)
  })
  step(/^the default (\w+) value should be returned$/, (t, { details, fallback }) => t.equal(details!.value, fallback))
  step(/^the reason should indicate an error and the error code should indicate a .* with "(.*)"$/, (t, { details }, code) => t.match(details, { reason: 'ERROR', errorCode: code }))

  const newId = IdGenerator.uuid()
  let count = 0
  for (const file of ['evaluation.feature', 'evaluation_v2.feature', 'contextMerging.feature', 'hooks.feature', 'metadata.feature']) {
    const parser = new Parser(new AstBuilder(newId), new GherkinClassicTokenMatcher())
    const pickles = compile(parser.parse(readFileSync(join(suite, file), 'utf8')), file, newId)
    await t.test(file, async (t) => {
      for (const pickle of pickles) {
        // The provider keeps no evaluations, so none comes from a cache.
        if (pickle.tags.some(({ name }) => name === '@reason-codes-cached')) continue
        count++
        await t.test(pickle.name, async (t) => {
          const world: World = { client: OpenFeature.getClient(), type: 'boolean', key: '', fallback: false, context: {}, hooks: [], levels: [] }
          for (const step of pickle.steps) {
            const found = steps.map(([pattern, run]) => ({ parts: pattern.exec(step.text), run })).find(({ parts }) => parts !== null)
            if (found === undefined) throw new Error(`no step for: ${step.text}`)
            await found.run(t, world, step, ...found.parts!.slice(1))
          }
        })
      }
    })
  }
  t.ok(count > 90, `${count} scenarios`)
}
