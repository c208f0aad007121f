/**
 * Finds visitors for an experience. The id alone determines a visitor's share of an A/B activity, both at the edge and on-device,
 * so it is enough to find an id with the right share.
 */
import { inspect } from 'node:util'
import { allocate } from '../../decisioning/allocation.ts'
import { compileCondition } from '../../decisioning/conditions.ts'
import { failure } from '../../errors.ts'
import { alternatives, show } from '../../validation.ts'
import { copyCondition, isAllocation } from '../condition-tree.ts'

/** An experience of an activity, each by its name or id. */
export interface Variant {
  activity: string | number
  experience: string | number
}

/** A visitor who gets it. */
export interface VariantVisitor {
  /** Must be the visitor's only id: as `thirdPartyId`, as Experience Cloud id, or as `tntId`. */
  id: string
  /** The `Cookie` header of an anonymous visitor who has it as `tntId`. */
  cookie: string
}

/** The part of an artifact's rule that is read here. */
interface Rule { meta?: Record<string, unknown>, condition?: unknown }

/** Number of allocation values, 0 to 99.99. */
const SHARES = 10_000
/** This many ids cover all of them, except once in millions of times. */
const MAX_TRIES = 200_000
const TWO_YEARS = 2 * 365 * 24 * 60 * 60

/**
 * Finds a visitor, always the same for the same arguments.
 *
 * @param artifact whose rules have activity and experience in their meta
 * @param client Target client code
 * @throws FST_TARGET_INVALID_OPTIONS if there is no such experience, or no visitor gets it
 */
export function visitorFor (artifact: object, client: string, variant: Variant): VariantVisitor {
  const { activity, experience } = Object(variant) as Variant
  const all = rulesOf(artifact).flat()
  const isOf = (part: 'activity' | 'experience', wanted: unknown) => ({ meta = {} }: Rule) =>
    wanted !== undefined && (meta[`${part}.name`] === wanted || String(meta[`${part}.id`]) === String(wanted))
  const inActivity = all.filter(isOf('activity', activity))
  const isWanted = isOf('experience', experience)
  if (inActivity.length === 0) throw unknownName('activity', activity, all)
  if (!inActivity.some(isWanted)) throw unknownName('experience', experience, inActivity)

  // An activity may be in several places, with the same shares in all of them.
  const places = rulesOf(artifact).map((rules) => rules.filter((rule) => inActivity.includes(rule))).filter((rules) => rules.some(isWanted))
  const activityId = String(inActivity[0]!.meta?.['activity.id'])
  const verdicts = new Map<number, boolean>()
  for (let number = 1; number <= MAX_TRIES && verdicts.size < SHARES; number++) {
    const id = `visitor-${activityId}-${number}`
    const share = allocate(client, activityId, id)
    let verdict = verdicts.get(share)
    if (verdict === undefined) verdicts.set(share, verdict = places.every((rules) => wins(rules, isWanted, share)))
    if (verdict) return { id, cookie: `mbox=PC#${id}.35_0#${Math.floor(Date.now() / 1000) + TWO_YEARS}` }
  }
  throw failure('FST_TARGET_INVALID_OPTIONS', `edge.visitorFor(): no visitor is allocated to ${inspect(variant)}`)
}

function rulesOf (artifact: object): Rule[][] {
  const { rules } = artifact as { rules?: { mboxes?: Record<string, Rule[]>, views?: Record<string, Rule[]> } }
  return [...Object.values(rules?.mboxes ?? {}), ...Object.values(rules?.views ?? {})].filter(Array.isArray)
}

function unknownName (part: 'activity' | 'experience', wanted: unknown, rules: Rule[]) {
  const known = new Set(rules.map(({ meta = {} }) => inspect(meta[`${part}.name`] ?? meta[`${part}.id`])))
  return failure('FST_TARGET_INVALID_OPTIONS', `edge.visitorFor(): unknown ${part} ${show(wanted)}; expected ${alternatives([...known].slice(0, 20))}`)
}

/** Whether visitors with this share get the wanted experience, provided they are in its audience. */
function wins (rules: Rule[], isWanted: (rule: Rule) => boolean, share: number): boolean {
  for (const rule of rules) {
    const truth = judge(copyCondition(rule.condition, (operation) => isAllocation(operation) ? share : undefined))
    if (isWanted(rule) && truth !== false) return true
    if (truth === true) return false
  }
  return false
}

/** Whether a condition holds; undefined if that depends on the request. */
function judge (logic: unknown): boolean | undefined {
  if (typeof logic === 'object' && logic !== null && !Array.isArray(logic)) {
    const [name = '', given] = Object.entries(logic)[0] ?? []
    const parts = () => (Array.isArray(given) ? given : [given]).map(judge)
    if (name === '!') {
      const [truth] = parts()
      return truth === undefined ? undefined : !truth
    }
    if (name === 'and' || name === 'or') {
      const deciding = name === 'or'
      const truths = parts()
      if (truths.includes(deciding)) return deciding
      return truths.includes(undefined) ? undefined : !deciding
    }
  }
  // A condition that reads any fact depends on the request.
  if (/"(?:var|missing|missing_some)":/.test(JSON.stringify(logic) ?? '')) return undefined
  try {
    return Boolean(compileCondition(logic)({} as never))
  } catch {
    return false
  }
}
