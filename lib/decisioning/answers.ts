/**
 * A rule's answers, prepared so that each is assembled from small fresh objects: the caller may change it, the artifact stays
 * unchanged, and nothing is cloned needlessly.
 *
 * Source: behaviour of `@adobe/target-decisioning-engine` 1.9.3.
 */
import type { MboxResponse, Option } from '../schema/index.ts'
import type { ArtifactRule } from './artifact-schema.ts'
import { compileMacros, markParameters, type MacroSource } from './macros.ts'

/** Response tokens by name. */
export type Tokens = Record<string, unknown>

/** A rule's answer to one mbox, page load or view, from which the parts that the location uses are taken. */
export interface Consequence extends MboxResponse {
  options: Option[]
}

/** The parts of a request that an answer depends on. */
export interface AnswerSource extends MacroSource {
  /** Copied into the answer. */
  index?: number | undefined
}

/** Makes a fresh answer. `tokens`: response tokens in addition to the rule's own. */
export type Answer = (details: AnswerSource, tokens: Tokens | undefined) => Consequence

/** The answers of a rule. */
export interface Answers {
  /** Without event tokens; only clicks are left to notify. */
  execute: Answer
  /** With event tokens, without metrics. */
  prefetch: Answer
  /** With event tokens and all metrics. */
  prefetchView: Answer
  /** Name of the location in the artifact. */
  name: string | undefined
  /** Event tokens of a display, in order, blank options included: showing nothing is an experience too. */
  displayTokens: readonly string[]
}

/**
 * @param rule of the artifact, checked
 * @param responseTokens names of the response tokens that the artifact requests
 * @throws Error when its content is nested too deep
 */
export function compileAnswers ({ consequence, meta }: ArtifactRule, responseTokens: ReadonlySet<string>): Answers {
  const { options = [], metrics = [], ...rest } = consequence
  const tokens = ruleTokens(meta, responseTokens)
  const shown = options.filter(({ type, content }) => type !== undefined || content !== undefined)
  const execute = shown.map((option) => compileOption(option, meta, tokens, undefined))
  const prefetch = options.map((option, i) => compileOption(option, meta, tokens, option.eventToken ?? displayToken(metrics[i])))
  const clicks = metrics.filter(({ type }) => type === 'click')
  return {
    execute: compileAnswer(rest, execute, clicks.length > 0 ? clicks : undefined),
    prefetch: compileAnswer(rest, prefetch, undefined),
    prefetchView: compileAnswer(rest, prefetch, metrics),
    name: rest.name,
    displayTokens: [...new Set(options.flatMap(({ eventToken }) => eventToken ?? []))]
  }
}

type ArtifactOption = NonNullable<ArtifactRule['consequence']['options']>[number]
type ArtifactMetric = NonNullable<ArtifactRule['consequence']['metrics']>[number]
type OptionMaker = (details: MacroSource, tokens: Tokens | undefined) => Option

function displayToken (metric: ArtifactMetric | undefined): string | undefined {
  return metric?.type === 'display' ? metric.eventToken : undefined
}

/*
 * Why answers are built this way: in V8, adding a member to a spread object costs ten times as much as the spread, so templates
 * have all members and the variable ones are overwritten; and a spread is fast only if it sees few shapes, so each kind of
 * object has its own.
 */

function compileAnswer (rest: object, options: OptionMaker[], metrics: ArtifactMetric[] | undefined): Answer {
  const bare = metrics === undefined ? { ...rest, options: null } : { ...rest, options: null, metrics }
  const indexed = { ...bare, index: 0 }
  const nested = nestedMembers(bare)
  return (details, tokens) => {
    const answer = (details.index === undefined ? { ...bare } : { ...indexed }) as unknown as Consequence
    renew(answer, nested)
    answer.options = options.map((make) => make(details, tokens))
    if (details.index !== undefined) answer.index = details.index
    return answer
  }
}

function compileOption (option: ArtifactOption, meta: object, ruleTokens: Tokens, eventToken: string | undefined): OptionMaker {
  const { eventToken: _, content, ...rest } = option
  const { make: makeContent, hasParameters } = content === undefined ? NO_CONTENT : compileContent(option, meta)
  const template = {
    ...rest,
    ...(eventToken !== undefined && { eventToken }),
    ...(makeContent !== undefined && { content: null }),
    responseTokens: null
  }
  const nested = nestedMembers(template)
  return (details, tokens) => {
    const made = { ...template } as unknown as Option
    renew(made, nested)
    if (makeContent !== undefined) made.content = makeContent(details)
    if (hasParameters) markParameters(made)
    made.responseTokens = tokens === undefined ? { ...ruleTokens } : Object.assign({}, ruleTokens, tokens)
    return made
  }
}

/** How a content is made, and whether parameters of the request go into it. */
interface ContentMaker {
  make: (details: MacroSource) => NonNullable<Option['content']>
  hasParameters: boolean
}

const NO_CONTENT: Partial<ContentMaker> = {}

function compileContent ({ type, content }: ArtifactOption, meta: object): ContentMaker {
  if (type === 'html' && typeof content === 'string') {
    const { fill, hasParameters } = compileMacros(content, meta)
    return { make: fill, hasParameters }
  }
  if (type === 'actions' && Array.isArray(content)) {
    const actions = content.map((action) => compileAction(action, meta))
    return { make: (details) => actions.map(({ make }) => make(details)), hasParameters: actions.some(({ hasParameters }) => hasParameters) }
  }
  return { make: copier(content) as ContentMaker['make'], hasParameters: false }
}

function compileAction (action: unknown, meta: object): { make: (details: MacroSource) => unknown, hasParameters: boolean } {
  if (!isContainer(action) || typeof action.content !== 'string') return { make: copier(action), hasParameters: false }
  const nested = nestedMembers(action)
  const { fill, hasParameters } = compileMacros(action.content, meta)
  const make = (details: MacroSource) => {
    const made = { ...action }
    renew(made, nested)
    made.content = fill(details)
    return made
  }
  return { make, hasParameters }
}

/** Tokens that are copied from the rule's meta, under the same names. */
const META_TOKENS = [
  'activity.id', 'activity.name', 'activity.type', 'experience.id', 'experience.name', 'location.id', 'location.name',
  'location.type', 'offer.id', 'offer.name', 'option.id', 'option.name'
] as const

function ruleTokens (meta: ArtifactRule['meta'], wanted: ReadonlySet<string>): Tokens {
  const tokens: Tokens = {}
  for (const name of META_TOKENS) {
    if (wanted.has(name) && meta[name] !== undefined) tokens[name] = meta[name]
  }
  tokens['activity.decisioningMethod'] = 'on-device'
  return tokens
}

type Copier = () => unknown
type Nested = ReadonlyArray<readonly [name: string, copy: Copier]>

/** Deeper content cannot be sent as JSON either: `JSON.stringify` fails. */
const MAX_DEPTH = 512

/**
 * Compiles a function that copies a JSON value: a flat one costs one spread.
 *
 * @throws Error when it is nested too deep
 */
function copier (value: unknown, depth = 0): Copier {
  if (!isContainer(value)) return () => value
  const nested = nestedMembers(value, depth)
  return Array.isArray(value) ? () => renew([...value] as any, nested) : () => renew({ ...value }, nested)
}

/** Members that a spread would share with the original. */
function nestedMembers (value: object, depth = 0): Nested {
  if (depth > MAX_DEPTH) throw new Error(`content is nested more than ${MAX_DEPTH} levels deep`)
  // JSON.parse creates it as an own member, but assigning it to a copy would set the prototype.
  if (Object.hasOwn(value, '__proto__')) throw new Error('content has a member __proto__')
  return Object.entries(value)
    .filter(([, member]) => isContainer(member))
    .map(([name, member]) => [name, copier(member, depth + 1)])
}

function renew<Copy extends object> (copy: Copy, nested: Nested): Copy {
  for (const [name, copyMember] of nested) (copy as Record<string, unknown>)[name] = copyMember()
  return copy
}

/** Whether a value is an object or a list. */
function isContainer (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
