/**
 * The operators of JSON-Logic that depend only on their operands. Each makes one closure from the closures of its operands.
 *
 * Semantics are those of `json-logic-js` 2.0.5, which Adobe's engine uses: JavaScript's own loose comparisons, and an empty
 * array is falsy.
 */
/* eslint-disable eqeqeq -- `==` of JSON-Logic is JavaScript's */

/**
 * Evaluates a piece of logic in a scope: the facts, or one element inside `filter` and the like. The result may have any type,
 * and the operators treat it as JavaScript's do.
 */
export type Evaluate = (scope: unknown) => any

/** Combines the evaluations of the operands into that of the operation. */
export type Operator = (...operands: Evaluate[]) => Evaluate

/** A missing operand. */
const absent: Evaluate = () => undefined

/** JSON-Logic's truthiness: JavaScript's, except that an empty array is falsy. */
export function truthy (value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : Boolean(value)
}

/** For operators with any number of operands, which are rare. */
const variadic = (operate: (values: any[]) => unknown): Operator =>
  (...operands) => (scope) => operate(operands.map((operand) => operand(scope)))

const choose: Operator = (...branches) => (scope) => {
  let i = 0
  for (; i < branches.length - 1; i += 2) {
    if (truthy(branches[i]!(scope))) return branches[i + 1]!(scope)
  }
  return i < branches.length ? branches[i]!(scope) : null
}

/** Returns the value of the first operand whose truthiness is `stop`, else of the last one. */
const until = (stop: boolean): Operator => (...operands) => (scope) => {
  let value: unknown
  for (let i = 0; i < operands.length; i++) {
    value = operands[i]!(scope)
    if (truthy(value) === stop) break
  }
  return value
}

function between (low: any, middle: any, high: any, below: (low: any, high: any) => boolean): boolean {
  return below(low, middle) && (high === undefined || below(middle, high))
}

/** Operators by name. */
export const operators: ReadonlyMap<string, Operator> = new Map<string, Operator>([
  ['==', (a = absent, b = absent) => (scope) => a(scope) == b(scope)],
  ['!=', (a = absent, b = absent) => (scope) => a(scope) != b(scope)],
  ['===', (a = absent, b = absent) => (scope) => a(scope) === b(scope)],
  ['!==', (a = absent, b = absent) => (scope) => a(scope) !== b(scope)],
  ['>', (a = absent, b = absent) => (scope) => a(scope) > b(scope)],
  ['>=', (a = absent, b = absent) => (scope) => a(scope) >= b(scope)],
  ['<', (a = absent, b = absent, c) => c === undefined
    ? (scope) => a(scope) < b(scope)
    : (scope) => between(a(scope), b(scope), c(scope), (low, high) => low < high)],
  ['<=', (a = absent, b = absent, c) => c === undefined
    ? (scope) => a(scope) <= b(scope)
    : (scope) => between(a(scope), b(scope), c(scope), (low, high) => low <= high)],
  ['!!', (a = absent) => (scope) => truthy(a(scope))],
  ['!', (a = absent) => (scope) => !truthy(a(scope))],
  ['and', until(false)],
  ['or', until(true)],
  ['if', choose],
  ['?:', choose],
  ['in', (a = absent, b = absent) => (scope) => {
    const [part, whole] = [a(scope), b(scope)]
    return Boolean(whole) && (typeof whole === 'string' || Array.isArray(whole)) && whole.indexOf(part) !== -1
  }],
  ['cat', variadic((values) => values.join(''))],
  ['substr', variadic(([source, start, end]) => {
    if (!(end < 0)) return String(source).substr(start, end)
    const tail = String(source).substr(start)
    return tail.substr(0, tail.length + end)
  })],
  ['+', variadic((values) => values.reduce((sum, value) => Number.parseFloat(sum) + Number.parseFloat(value), 0))],
  ['*', variadic((values) => values.reduce((product, value) => Number.parseFloat(product) * Number.parseFloat(value)))],
  ['-', (a = absent, b = absent) => (scope) => {
    const [from, value] = [a(scope), b(scope)]
    return value === undefined ? -from : from - value
  }],
  ['/', (a = absent, b = absent) => (scope) => a(scope) / b(scope)],
  ['%', (a = absent, b = absent) => (scope) => a(scope) % b(scope)],
  ['min', variadic((values) => Math.min(...values))],
  ['max', variadic((values) => Math.max(...values))],
  ['merge', variadic((values) => values.flat())],
  // json-logic-js prints the operand. Facts are visitor data, which must not be logged.
  ['log', (a = absent) => a]
])
