/**
 * Turns a rule artifact into what decisions run on: checked, indexed by location, conditions as closures, answers prepared.
 *
 * Done once per artifact. The work is cut into slices, so that the event loop goes on while a large artifact comes in.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { TSchema } from '@sinclair/typebox'
import { once } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import { pathOf, problemIn } from '../validation.ts'
import { Artifact, ArtifactRule, DEFAULT_GLOBAL_MBOX } from './artifact-schema.ts'
import { compileCondition } from './conditions.ts'
import { type Answers, compileAnswers } from './answers.ts'
import type { Activity, Facts, GeoFacts } from './facts.ts'
import { loadSuffixes } from './url.ts'

/** One experience of an activity at one location, ready to be judged. */
export interface CompiledRule {
  /** Of the rules with one key the first match counts. */
  readonly key: string | undefined
  /** Properties it belongs to; undefined: to all. */
  readonly propertyTokens: readonly string[] | undefined
  readonly activity: Activity
  /** Whether the visitor meets the condition. Never throws: a condition that cannot be evaluated is not met. */
  readonly matches: (facts: Facts) => boolean
  readonly answers: Answers
  /** The rule as it came, for traces. */
  readonly source: ArtifactRule
}

/** A rule artifact ready for decisions. */
export interface CompiledArtifact {
  /** Semantic version, `1.x`. */
  readonly version: string
  /** Name under which the page load is decided. */
  readonly globalMbox: string
  /** Whether a rule asks where the visitor is. */
  readonly geoTargetingEnabled: boolean
  /** Names of the response tokens that answers carry. */
  readonly responseTokens: readonly string[]
  /** Those of them that tell where the visitor is, with the fact that holds it. */
  readonly geoTokens: ReadonlyArray<readonly [token: string, fact: keyof GeoFacts]>
  /** What the artifact says about itself: client code, environment, when it was made. */
  readonly meta: Readonly<Record<string, unknown>>
  /** Rules by mbox, in order of priority. */
  readonly mboxes: ReadonlyMap<string, readonly CompiledRule[]>
  /** Rules by view, in order of priority. */
  readonly views: ReadonlyMap<string, readonly CompiledRule[]>
  /** What can be decided here. */
  readonly local: { readonly mboxes: ReadonlySet<string>, readonly views: ReadonlySet<string> }
  /** What needs the edge, with its place in the artifact's list. */
  readonly remote: { readonly mboxes: ReadonlyMap<string, number>, readonly views: ReadonlyMap<string, number> }
}

const GEO_TOKENS = [
  ['geo.city', 'city'],
  ['geo.country', 'country'],
  ['geo.countryCode', 'country'],
  ['geo.state', 'region'],
  ['geo.latitude', 'latitude'],
  ['geo.longitude', 'longitude']
] as const

/** Milliseconds of work between two turns of the event loop; one rule more is always finished. */
const SLICE = 5

/**
 * Checks and compiles an artifact.
 *
 * @param artifact parsed JSON; parts of it are kept, so it must not be changed afterwards
 * @param options `report` hears about rules that can never match, and about conditions that cannot be evaluated, each once
 * @returns rejects with `FST_TARGET_ARTIFACT` when it is no artifact of major version 1; the event loop turns
 * every few milliseconds, and what is left to hold it is the garbage collector
 */
export async function compileArtifact (artifact: unknown, options: { report?: (problem: string) => void } = {}): Promise<CompiledArtifact> {
  assert(Artifact, artifact, 'artifact')
  await loadSuffixes()
  const responseTokens = new Set(artifact.responseTokens)
  const compiler = new RuleCompiler(responseTokens, options.report ?? (() => {}))
  return {
    version: artifact.version,
    globalMbox: artifact.globalMbox || DEFAULT_GLOBAL_MBOX,
    geoTargetingEnabled: artifact.geoTargetingEnabled ?? false,
    responseTokens: [...responseTokens],
    geoTokens: GEO_TOKENS.filter(([token]) => responseTokens.has(token)),
    meta: artifact.meta ?? {},
    mboxes: await compiler.compileAll('mboxes', artifact.rules.mboxes),
    views: await compiler.compileAll('views', artifact.rules.views),
    local: { mboxes: new Set(artifact.localMboxes), views: new Set(artifact.localViews) },
    remote: { mboxes: places(artifact.remoteMboxes), views: places(artifact.remoteViews) }
  }
}

/** Compiles the rules of one artifact, in slices. */
class RuleCompiler {
  readonly #responseTokens: ReadonlySet<string>
  readonly #report: (problem: string) => void
  readonly #activities = new Map<string, Activity>()
  readonly #isNew = once()
  #sliceStart = performance.now()

  constructor (responseTokens: ReadonlySet<string>, report: (problem: string) => void) {
    this.#responseTokens = responseTokens
    this.#report = report
  }

  async compileAll (kind: 'mboxes' | 'views', rulesByName: Record<string, unknown[]> = {}): Promise<Map<string, CompiledRule[]>> {
    const compiled = new Map<string, CompiledRule[]>()
    for (const [name, rules] of Object.entries(rulesByName)) {
      const list: CompiledRule[] = []
      for (const [i, rule] of rules.entries()) {
        assert(ArtifactRule, rule, pathOf('artifact.rules', [kind, name, String(i)]))
        const compiledRule = this.#compile(rule)
        if (compiledRule !== undefined) list.push(compiledRule)
        if (performance.now() - this.#sliceStart > SLICE) {
          await nextTurn()
          this.#sliceStart = performance.now()
        }
      }
      compiled.set(name, list)
    }
    return compiled
  }

  #compile (rule: ArtifactRule): CompiledRule | undefined {
    try {
      const condition = compileCondition(rule.condition)
      return {
        key: rule.ruleKey,
        propertyTokens: rule.propertyTokens?.length ? rule.propertyTokens : undefined,
        activity: this.#activity(String(rule.meta['activity.id'] ?? rule.activityId ?? '')),
        matches: (facts) => {
          try {
            return Boolean(condition(facts))
          } catch (error) {
            this.#problem(`cannot be evaluated for every visitor: ${(error as Error).name}`, rule)
            return false
          }
        },
        answers: compileAnswers(rule, this.#responseTokens),
        source: rule
      }
    } catch (error) {
      this.#problem(`can never match: ${(error as Error).message}`, rule)
      return undefined
    }
  }

  #activity (id: string): Activity {
    let activity = this.#activities.get(id)
    if (activity === undefined) this.#activities.set(id, activity = { id, place: this.#activities.size })
    return activity
  }

  /** One report for each kind of problem, naming the first rule that has it. */
  #problem (problem: string, { ruleKey, consequence }: ArtifactRule): void {
    if (this.#isNew(problem)) this.#report(`rule ${JSON.stringify(ruleKey)} of ${JSON.stringify(consequence.name)} ${problem}`)
  }
}

function places (names: readonly string[] = []): Map<string, number> {
  return new Map(names.map((name, place) => [name, place]))
}

function assert<Schema extends TSchema> (schema: Schema, value: unknown, root: string): asserts value is Schema['static'] {
  const problem = problemIn(schema, value, { root, isPrivate: true })
  if (problem !== undefined) throw failure('FST_TARGET_ARTIFACT', problem)
}
