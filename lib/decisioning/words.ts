/**
 * Describes the conditions of rules in words, to explain why a visitor got an experience: in the inspector and on the
 * command line. Not used by decisions.
 */

/** A condition in words. */
export type Words =
  | {
    kind: 'all' | 'any' | 'not'
    /** The joined conditions; `not` has one. */
    parts: Words[]
    /** The JSON-Logic that these words describe. */
    logic: unknown
  }
  | {
    kind: 'test'
    /** The test in words, such as `the browser is "safari"`. */
    text: string
    /** Path of the compared fact, such as `user.browserType`; undefined if it compares none or several. */
    fact?: string
    /** That fact in words, such as `the browser`. */
    subject?: string
    logic: unknown
  }
  | {
    kind: 'allocation'
    /** `the bucket is in 50 to 100`. */
    text: string
    /** Bounds of the share, in percent. */
    from: number
    to: number
    logic: unknown
  }

const SUBJECTS: ReadonlyMap<string, string> = new Map([
  ['allocation', 'the allocation bucket'],
  ['current_timestamp', 'the time'],
  ['current_time', 'the time of day (UTC, HHmm)'],
  ['current_day', 'the day of the week (1 is Monday)'],
  ['user.browserType', 'the browser'],
  ['user.browserVersion', 'the browser version'],
  ['user.platform', 'the operating system'],
  ['user.locale', 'the language'],
  ['geo.country', 'the country'],
  ['geo.region', 'the region'],
  ['geo.city', 'the city'],
  ['geo.latitude', 'the latitude'],
  ['geo.longitude', 'the longitude']
])

const URL_SUBJECTS: ReadonlyMap<string, string> = new Map([
  ['url', 'URL'], ['domain', 'domain'], ['subdomain', 'subdomain'], ['topLevelDomain', 'top-level domain'],
  ['path', 'path'], ['query', 'query string'], ['fragment', 'fragment']
])

const DAYS = ['', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday']

/** Comparisons in words, read from the fact to the value. */
const COMPARISONS: ReadonlyMap<string, string> = new Map([
  ['==', 'is'], ['===', 'is'], ['!=', 'is not'], ['!==', 'is not'],
  ['>', 'is greater than'], ['>=', 'is at least'], ['<', 'is less than'], ['<=', 'is at most']
])

/** The same comparison with its operands swapped. */
const SWAPPED: ReadonlyMap<string, string> = new Map([['>', '<'], ['>=', '<='], ['<', '>'], ['<=', '>=']])

/** More than the depth of Target's own conditions; deeper parts are shown as JSON-Logic. */
const MAX_DEPTH = 64

const MAX_TEXT_LENGTH = 300

/**
 * Describes a condition.
 *
 * @param logic JSON-Logic of a rule; unknown parts are shown as JSON-Logic
 */
export function describeCondition (logic: unknown, depth = 0): Words {
  const operation = operationOf(logic)
  if (operation === undefined || depth > MAX_DEPTH) return { kind: 'test', text: constantText(logic), logic }
  const { name, operands } = operation
  if (name === 'and') {
    const share = shareOf(operands)
    if (share !== undefined) return allocationWords(share, logic)
  }
  if (name === 'and' || name === 'or') {
    const parts = operands.map((operand) => describeCondition(operand, depth + 1))
    return parts.length === 1 ? parts[0]! : { kind: name === 'and' ? 'all' : 'any', parts, logic }
  }
  if ((name === '!' || name === '!!') && operands.length === 1) {
    const part = describeCondition(operands[0], depth + 1)
    return name === '!!' ? part : { kind: 'not', parts: [part], logic }
  }
  const share = shareOf([logic])
  return share === undefined ? testWords(name, operands, logic) : allocationWords(share, logic)
}

/** One line for a whole condition: `all of (…; …)`. */
export function conditionText (words: Words): string {
  if (words.kind === 'test' || words.kind === 'allocation') return words.text
  if (words.kind === 'not') return `not (${conditionText(words.parts[0]!)})`
  return words.parts.map((part) => part.kind === 'test' || part.kind === 'allocation' ? part.text : `(${conditionText(part)})`)
    .join(words.kind === 'all' ? ' and ' : ' or ')
}

/** A fact's name in words: `mbox parameter \`member\`` for `mbox.member`. */
export function subjectOf (path: string): string {
  const known = SUBJECTS.get(path)
  if (known !== undefined) return known
  const [branch, ...rest] = path.split('.')
  const name = rest.join('.')
  if (branch === 'mbox') return name.endsWith('_lc') ? `mbox parameter \`${name.slice(0, -3)}\` (in lower case)` : `mbox parameter \`${name}\``
  if (branch === 'page' || branch === 'referring') {
    const lowerCase = name.endsWith('_lc')
    const part = URL_SUBJECTS.get(lowerCase ? name.slice(0, -3) : name)
    if (part !== undefined) return `the ${branch === 'page' ? 'page' : 'referring'} ${part}${lowerCase ? ' (in lower case)' : ''}`
  }
  return `\`${path}\``
}

/** A fact's value in words. */
export function valueText (value: unknown, fact?: string): string {
  if (value === undefined || value === null) return 'unknown'
  if (value === '') return 'empty'
  if (fact === 'current_timestamp' && typeof value === 'number' && Math.abs(value) < 8.64e15) return new Date(value).toISOString()
  if (fact === 'current_day' && typeof value === 'number' && DAYS[value]) return DAYS[value]!
  return jsonText(value)
}

/** A rule for all visitors has the condition `true`. */
function constantText (logic: unknown): string {
  if (logic === true) return 'everyone'
  if (logic === false) return 'no one'
  return jsonText(logic)
}

function jsonText (value: unknown): string {
  try {
    return shorten(JSON.stringify(value) ?? String(value))
  } catch {
    // Nested too deep for JSON.stringify.
    return '…'
  }
}

function testWords (name: string, operands: unknown[], logic: unknown): Words {
  const [a, b, c] = operands
  const comparison = COMPARISONS.get(name)
  if (comparison !== undefined && operands.length === 2) {
    const left = factOf(a)
    const right = factOf(b)
    if (left !== undefined && right === undefined && isConstant(b)) return comparisonWords(left, name, b, logic)
    if (right !== undefined && left === undefined && isConstant(a)) return comparisonWords(right, SWAPPED.get(name) ?? name, a, logic)
  }
  const between = factOf(b)
  if ((name === '<' || name === '<=') && operands.length === 3 && between !== undefined && isConstant(a) && isConstant(c)) {
    const subject = subjectOf(between)
    return { kind: 'test', fact: between, subject, logic, text: `${subject} is between ${valueText(a, between)} and ${valueText(c, between)}` }
  }
  if (name === 'in' && operands.length === 2) {
    const whole = factOf(b)
    if (whole !== undefined && isConstant(a)) {
      const subject = subjectOf(whole)
      return { kind: 'test', fact: whole, subject, logic, text: `${subject} contains ${valueText(a)}` }
    }
    const part = factOf(a)
    if (part !== undefined && isConstant(b)) {
      const subject = subjectOf(part)
      const list = Array.isArray(b) ? `one of ${shorten(b.map((value) => valueText(value, part)).join(', '))}` : `part of ${valueText(b)}`
      return { kind: 'test', fact: part, subject, logic, text: `${subject} is ${list}` }
    }
  }
  if (name === 'var') {
    const fact = factOf(logic)
    if (fact !== undefined) return { kind: 'test', fact, subject: subjectOf(fact), logic, text: `${subjectOf(fact)} is set` }
  }
  const loop = LOOPS.get(name)
  const listed = factInside(a)
  if (loop !== undefined && listed !== undefined) {
    const subject = subjectOf(listed)
    return { kind: 'test', fact: listed, subject, logic, text: `${loop} of ${subject} fits ${constantText(b)}` }
  }
  return { kind: 'test', text: `JSON-Logic ${constantText(logic)}`, logic }
}

const LOOPS: ReadonlyMap<string, string> = new Map([['some', 'at least one'], ['all', 'every one'], ['none', 'none']])

function comparisonWords (fact: string, name: string, value: unknown, logic: unknown): Words {
  const subject = subjectOf(fact)
  const time = fact === 'current_timestamp' ? TIMES.get(name) : undefined
  return { kind: 'test', fact, subject, logic, text: `${subject} ${time ?? COMPARISONS.get(name)!} ${valueText(value, fact)}` }
}

const TIMES: ReadonlyMap<string, string> = new Map([['>', 'is after'], ['>=', 'is not before'], ['<', 'is before'], ['<=', 'is not after']])

interface Share { from: number, to: number }

const allocationWords = ({ from, to }: Share, logic: unknown): Words => ({ kind: 'allocation', from, to, logic, text: `the bucket is in ${from} to ${to}` })

/** The share of visitors described by comparisons of the allocation; undefined if there are other conditions. */
function shareOf (conditions: unknown[]): Share | undefined {
  let from = 0
  let to = 100
  if (conditions.length === 0) return undefined
  for (const condition of conditions) {
    const operation = operationOf(condition)
    if (operation === undefined) return undefined
    const { name, operands: [a, b, c] } = operation
    const swap = factOf(b) === 'allocation' && typeof a === 'number'
    if ((name === '<' || name === '<=') && swap && typeof c === 'number') {
      from = Math.max(from, a)
      to = Math.min(to, c)
      continue
    }
    const value = swap ? a : factOf(a) === 'allocation' ? b : undefined
    if (typeof value !== 'number' || c !== undefined) return undefined
    const direction = swap ? SWAPPED.get(name) : SWAPPED.has(name) ? name : undefined
    if (direction === '>' || direction === '>=') from = Math.max(from, value)
    else if (direction === '<' || direction === '<=') to = Math.min(to, value)
    else return undefined
  }
  return { from, to }
}

function operationOf (logic: unknown): { name: string, operands: unknown[] } | undefined {
  if (typeof logic !== 'object' || logic === null || Array.isArray(logic)) return undefined
  const [name, ...others] = Object.keys(logic)
  if (name === undefined || others.length > 0) return undefined
  const operands = (logic as Record<string, unknown>)[name]
  return { name, operands: Array.isArray(operands) ? operands : [operands] }
}

/** The path of a plain `var`. */
function factOf (logic: unknown): string | undefined {
  const operation = operationOf(logic)
  const path = operation?.name === 'var' ? operation.operands[0] : undefined
  return typeof path === 'string' && path !== '' ? path : undefined
}

/** The fact that a list is derived from, through operations such as `filter`. */
function factInside (logic: unknown): string | undefined {
  return factOf(logic) ?? operationOf(logic)?.operands.map(factOf).find((fact) => fact !== undefined)
}

const isConstant = (logic: unknown): boolean => operationOf(logic) === undefined

const shorten = (text: string): string => text.length > MAX_TEXT_LENGTH ? `${text.slice(0, MAX_TEXT_LENGTH)}…` : text
