/**
 * Compiles a rule artifact for decisions: checked, indexed by location, conditions as closures, answers prepared.
 *
 * Runs once per artifact, in slices, so that a large artifact does not block the event loop.
 */
import type { TSchema } from '@sinclair/typebox'
import { once } from '../diagnostics.ts'
import { failure } from '../errors.ts'
import { pathOf, problemIn } from '../validation.ts'
import { Artifact, ArtifactRule, DEFAULT_GLOBAL_MBOX } from './artifact-schema.ts'
import { compileCondition } from './conditions.ts'
import { type Answers, compileAnswers } from './answers.ts'
import type { Activity, Facts, GeoFacts } from './facts.ts'
import { Slices } from './slices.ts'
import { loadSuffixes } from './url.ts'

/** One experience of an activity at one location, ready to be evaluated. */
export interface CompiledRule {
  /** Of the rules with the same key, only the first match counts. */
  readonly key: string | undefined
  /** Properties it belongs to; undefined: all. */
  readonly propertyTokens: readonly string[] | undefined
  readonly activity: Activity
  /** Whether the visitor meets the condition. Never throws: a condition that cannot be evaluated does not match. */
  readonly matches: (facts: Facts) => boolean
  readonly answers: Answers
  /** The rule from the artifact, for traces. */
  readonly source: ArtifactRule
}

/** A rule artifact ready for decisions. */
export interface CompiledArtifact {
  /** Semantic version, `1.x`. */
  readonly version: string
  /** Name under which the page load is decided. */
  readonly globalMbox: string
  /** Whether a rule depends on the visitor's location. */
  readonly geoTargetingEnabled: boolean
  /** Names of the response tokens in answers. */
  readonly responseTokens: readonly string[]
  /** The response tokens about the visitor's location, each with its fact. */
  readonly geoTokens: ReadonlyArray<readonly [token: string, fact: keyof GeoFacts]>
  /** The artifact's own metadata: client code, environment, creation time. */
  readonly meta: Readonly<Record<string, unknown>>
  /** Rules by mbox, in order of priority. */
  readonly mboxes: ReadonlyMap<string, readonly CompiledRule[]>
  /** Rules by view, in order of priority. */
  readonly views: ReadonlyMap<string, readonly CompiledRule[]>
  /** Mboxes and views that can be decided here. */
  readonly local: { readonly mboxes: ReadonlySet<string>, readonly views: ReadonlySet<string> }
  /** Mboxes and views that need the edge, with their index in the artifact's list. */
  readonly remote: { readonly mboxes: ReadonlyMap<string, number>, readonly views: ReadonlyMap<string, number> }
}

/** Whether an artifact names an mbox at all: with rules, or as one that only the edge decides. */
export const knowsMbox = ({ mboxes, local, remote }: CompiledArtifact, mbox: string): boolean =>
  mboxes.has(mbox) || local.mboxes.has(mbox) || remote.mboxes.has(mbox)

const GEO_TOKENS = [
  ['geo.city', 'city'],
  ['geo.country', 'country'],
  ['geo.countryCode', 'country'],
  ['geo.state', 'region'],
  ['geo.latitude', 'latitude'],
  ['geo.longitude', 'longitude']
] as const

/**
 * Checks and compiles an artifact.
 *
 * @param artifact parsed JSON; parts of it are kept, so it must not be changed afterwards
 * @param options `report` is called once for each rule that can never match and each condition that cannot be evaluated
 * @returns rejects with `FST_TARGET_ARTIFACT` if it is not an artifact of major version 1; yields to the event loop every few
 * milliseconds, so only the garbage collector can hold it longer
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
  readonly #slices = new Slices()

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
        if (this.#slices.isOver) await this.#slices.next()
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

  /** Reports each kind of problem once, naming the first rule that has it. */
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
