/**
 * Explains why a visitor got an experience: every rule of an mbox or view, in order, with its condition in words, the deciding
 * part and the visitor's own value. For the inspector and the command line; not used by decisions.
 */
import type { DeliveryRequest, RequestDetails } from '../schema/index.ts'
import { compileCondition } from './conditions.ts'
import type { CompiledArtifact, CompiledRule } from './compile.ts'
import { factReader, Facts, RequestFacts } from './facts.ts'
import { truthy } from './operators.ts'
import { conditionText, describeCondition, valueText, type Words } from './words.ts'

/** A share of an activity's visitors, in percent. */
export interface Share { from: number, to: number }

/** A part of a condition, evaluated for one visitor. */
export interface ExplainedCondition {
  /** The condition in words. */
  text: string
  satisfied: boolean
  /** The visitor's value of the compared fact, in words; undefined if the condition compares none. */
  actual?: string
  /** The share of visitors that it matches, in percent, if it compares the allocation bucket. */
  share?: Share
  /** How {@link parts} are joined. */
  join?: 'all' | 'any' | 'not'
  parts?: ExplainedCondition[]
}

/** The outcome of a rule. */
export type RuleOutcome =
  /** It decided the visitor's experience. */
  | 'matched'
  /** The visitor does not meet its condition. */
  | 'not-matched'
  /** An earlier rule had matched. */
  | 'not-reached'
  /** It belongs to other properties than the request's. */
  | 'other-property'

/** A rule and its outcome. */
export interface ExplainedRule {
  /** Its position in the order of priority, from 1. */
  position: number
  activity: { id: string, name: string, type: string }
  experience: { id: string, name: string }
  offer: { id: string, name: string }
  outcome: RuleOutcome
  /** The reason for the outcome, in one sentence. */
  reason: string
  condition: ExplainedCondition
  /** The visitor's bucket in the activity, 0 to 99.99, which decides A/B splits. */
  bucket: number
  /** The share that gets this experience, in percent, if the rule splits visitors. */
  share?: Share
}

/** The decision about one mbox or view, and the reasons. */
export interface Explanation {
  kind: 'mbox' | 'view'
  name: string
  /** Whether the artifact decides it; `remote` needs the edge, `unknown` is in no activity of the artifact. */
  decidedBy: 'artifact' | 'remote' | 'unknown'
  rules: ExplainedRule[]
}

/** The mbox or view to explain, by name, with the parameters of its request. */
export interface ExplainedLocation extends RequestDetails {
  kind?: 'mbox' | 'view'
  name: string
}

/**
 * Explains a decision.
 *
 * @param request the request to decide; its visitor must have an id, or each explanation is about another visitor
 * @param location default kind: `mbox`
 * @param options `now` in ms since the epoch, default: now
 */
export function explain (
  artifact: CompiledArtifact, request: DeliveryRequest, { kind = 'mbox', name, ...details }: ExplainedLocation, options: { client: string, now?: number }
): Explanation {
  const rules = (kind === 'mbox' ? artifact.mboxes : artifact.views).get(name) ?? []
  const remote = (kind === 'mbox' ? artifact.remote.mboxes : artifact.remote.views).has(name)
  const facts = new Facts(new RequestFacts(request.context, request.id ?? {}, options.client, options.now ?? Date.now()), details)
  // An mbox gets the first match; the page load and views get the first match of each rule key.
  const eachKey = kind === 'view' || name === artifact.globalMbox
  const matched = new Set<string | undefined>()
  return {
    kind,
    name,
    decidedBy: remote ? 'remote' : rules.length > 0 ? 'artifact' : 'unknown',
    rules: rules.map((rule, index) => {
      const reached = eachKey ? !matched.has(rule.key) : matched.size === 0
      const explained = explainRule(rule, index + 1, facts, reached, request.property?.token)
      if (explained.outcome === 'matched') matched.add(rule.key)
      return explained
    })
  }
}

function explainRule (rule: CompiledRule, position: number, facts: Facts, reached: boolean, propertyToken: string | undefined): ExplainedRule {
  const { meta } = rule.source
  facts.activity = rule.activity
  const words = describeCondition(rule.source.condition)
  const condition = evaluate(words, facts)
  const bucket = facts.allocation
  const share = findShare(words)
  const belongs = rule.propertyTokens === undefined || (propertyToken !== undefined && rule.propertyTokens.includes(propertyToken))
  const outcome: RuleOutcome = !belongs ? 'other-property' : !reached ? 'not-reached' : rule.matches(facts) ? 'matched' : 'not-matched'
  const text = (value: unknown) => String(value ?? '')
  return {
    position,
    activity: { id: rule.activity.id, name: text(meta['activity.name']), type: text(meta['activity.type']) },
    experience: { id: text(meta['experience.id']), name: text(meta['experience.name']) },
    offer: { id: text(meta['offer.id']), name: text(meta['offer.name']) },
    outcome,
    reason: reasonOf(outcome, condition, text(meta['experience.name']) || `experience ${text(meta['experience.id'])}`),
    condition,
    bucket,
    ...(share !== undefined && { share })
  }
}

function reasonOf (outcome: RuleOutcome, condition: ExplainedCondition, experience: string): string {
  switch (outcome) {
    case 'other-property': return 'It belongs to another property than the request\'s `propertyToken`.'
    case 'not-reached': return 'A rule before it matched.'
    case 'matched': return `${sentence(decisive(condition, true), true)}: ${experience}.`
    case 'not-matched': return `${sentence(decisive(condition, false), false)}.`
  }
}

/** `Bucket 73.2 is in 50 to 100`, or `the browser is "chrome", not …`. */
function sentence ({ text, actual, share }: ExplainedCondition, satisfied: boolean): string {
  if (share !== undefined) return `Bucket ${actual} is ${satisfied ? '' : 'not '}in ${share.from} to ${share.to}`
  if (satisfied) return text === 'everyone' ? 'The rule is for everyone' : `Holds: ${text}`
  return `Does not hold: ${text}${actual === undefined ? '' : ` (it is ${actual})`}`
}

/** The deciding part: of conditions that must all hold, the first that failed, and so on. */
function decisive (condition: ExplainedCondition, satisfied: boolean): ExplainedCondition {
  const { join, parts } = condition
  if (join === undefined || join === 'not' || parts === undefined) return condition
  // All parts hold, or none does: the allocation is the most informative, else the whole condition.
  const everyPart = (join === 'all') === satisfied
  if (everyPart) return parts.find(({ share }) => share !== undefined) ?? condition
  const part = parts.find((one) => one.satisfied === satisfied)
  return part === undefined ? condition : decisive(part, satisfied)
}

function evaluate (words: Words, facts: Facts): ExplainedCondition {
  const satisfied = holds(words.logic, facts)
  const text = conditionText(words)
  switch (words.kind) {
    case 'allocation': return { text, satisfied, actual: String(facts.allocation), share: { from: words.from, to: words.to } }
    case 'test': return words.fact === undefined ? { text, satisfied } : { text, satisfied, actual: valueText(factReader(words.fact)(facts), words.fact) }
    default: return { text, satisfied, join: words.kind, parts: words.parts.map((part) => evaluate(part, facts)) }
  }
}

/** Whether a condition holds; as in decisions, one that cannot be evaluated does not. */
function holds (logic: unknown, facts: Facts): boolean {
  try {
    return truthy(compileCondition(logic)(facts))
  } catch {
    return false
  }
}

function findShare (words: Words): Share | undefined {
  if (words.kind === 'allocation') return { from: words.from, to: words.to }
  if (words.kind !== 'all') return undefined
  for (const part of words.parts) {
    const share = findShare(part)
    if (share !== undefined) return share
  }
}
