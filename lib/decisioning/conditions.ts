/**
 * Compiles JSON-Logic into nested closures, once per artifact: operators looked up, paths resolved, constants folded.
 *
 * Semantics are those of `json-logic-js` 2.0.5, except that paths follow own properties only and that an unknown operator
 * fails here, not when it is reached. No code is generated.
 */
import { factReader, type Facts, readPath } from './facts.ts'
import { type Evaluate, type Operator, operators, truthy } from './operators.ts'

/** Truthy if the visitor with these facts meets the condition. May throw, as JavaScript's operators do. */
export type Condition = (facts: Facts) => unknown

/** Target's own conditions stay below twenty; a deeper one could exhaust the stack. */
const MAX_DEPTH = 256

/** The root of a path: the facts, or the current element of `filter` or a similar operator. */
type Scope = 'facts' | 'element'

interface Logic {
  evaluate: Evaluate
  constant: boolean
}

/**
 * @param condition JSON-Logic
 * @throws Error if an operator is unknown, the nesting is too deep, or a constant part cannot be computed
 */
export function compileCondition (condition: unknown): Condition {
  return compile(condition, 'facts', 0).evaluate
}

function constant (value: unknown): Logic {
  return { evaluate: () => value, constant: true }
}

/** A missing operand. */
const nothing = constant(undefined)

function compile (logic: unknown, scope: Scope, depth: number): Logic {
  if (depth > MAX_DEPTH) throw new Error(`nested more than ${MAX_DEPTH} levels deep`)
  if (typeof logic !== 'object' || logic === null) return constant(logic)
  if (Array.isArray(logic)) return fold(list, logic.map((item) => compile(item, scope, depth + 1)))

  const names = Object.keys(logic)
  const name = names[0]
  if (name === undefined || names.length > 1) return constant(logic)
  const given = (logic as Record<string, unknown>)[name]
  const operands = Array.isArray(given) ? given : [given]

  const loop = loops.get(name)
  if (loop !== undefined) {
    const [items, body, start = null] = operands
    const over = (part: unknown, within: Scope) => compile(part, within, depth + 1).evaluate
    return { evaluate: loop(over(items, scope), over(body, 'element'), over(start, scope)), constant: false }
  }

  const compiled = operands.map((operand) => compile(operand, scope, depth + 1))
  const lookup = lookups.get(name)
  if (lookup !== undefined) return { evaluate: lookup(compiled, scope), constant: false }

  const operator = operators.get(name)
  if (operator === undefined) throw new Error(`unknown operator ${JSON.stringify(name.slice(0, 64))}`)
  return fold(operator, compiled)
}

const list: Operator = (...items) => (scope) => items.map((item) => item(scope))

function fold (operator: Operator, operands: Logic[]): Logic {
  const evaluate = operator(...operands.map((operand) => operand.evaluate))
  return operands.every((operand) => operand.constant) ? constant(evaluate(undefined)) : { evaluate, constant: false }
}

/** Returns the value at a path of the scope; undefined if there is none. */
type Finder = (scope: unknown) => unknown

/** The finder for a path; a missing, empty or null path means the scope itself. */
function finder (path: unknown, scope: Scope): Finder {
  if (path === undefined || path === null || path === '') {
    return scope === 'facts' ? (facts) => (facts as Facts).toObject() : (element) => element
  }
  if (scope === 'facts') return factReader(String(path)) as Finder
  const parts = String(path).split('.')
  return (element) => readPath(element, parts)
}

/** The paths, passed individually or as one list, whose value is undefined, null or an empty string. */
function missingOf (given: unknown[], kind: Scope, scope: unknown): unknown[] {
  const paths = Array.isArray(given[0]) ? given[0] : given
  return paths.filter((path) => (finder(path, kind)(scope) ?? '') === '')
}

/** Operators that read the scope. */
const lookups: ReadonlyMap<string, (operands: Logic[], scope: Scope) => Evaluate> = new Map([
  ['var', ([path = nothing, otherwise = nothing], kind) => {
    const find: Finder = path.constant
      ? finder(path.evaluate(undefined), kind)
      : (scope) => finder(path.evaluate(scope), kind)(scope)
    return (scope) => {
      const value = find(scope)
      return value === undefined ? otherwise.evaluate(scope) ?? null : value
    }
  }],
  ['missing', (operands, kind) => (scope) => missingOf(operands.map((operand) => operand.evaluate(scope)), kind, scope)],
  ['missing_some', ([needed = nothing, options = nothing], kind) => (scope) => {
    const paths = options.evaluate(scope)
    const lacking = missingOf(Array.isArray(paths) ? paths : [paths], kind, scope)
    return paths.length - lacking.length >= needed.evaluate(scope) ? [] : lacking
  }]
])

/** Operators that run logic for each element of a list. */
const loops: ReadonlyMap<string, (items: Evaluate, body: Evaluate, start: Evaluate) => Evaluate> = new Map([
  ['filter', (items, body) => (scope) => elements(items, scope).filter((element) => truthy(body(element)))],
  ['map', (items, body) => (scope) => elements(items, scope).map((element) => body(element))],
  ['reduce', (items, body, start) => (scope) =>
    elements(items, scope).reduce((accumulator, current) => body({ current, accumulator }), start(scope))],
  ['all', (items, body) => (scope) => {
    const all = elements(items, scope)
    return all.length > 0 && all.every((element) => truthy(body(element)))
  }],
  ['none', (items, body) => (scope) => !elements(items, scope).some((element) => truthy(body(element)))],
  ['some', (items, body) => (scope) => elements(items, scope).some((element) => truthy(body(element)))]
])

/** The elements of a list; none for any other value. */
function elements (items: Evaluate, scope: unknown): unknown[] {
  const value = items(scope)
  return Array.isArray(value) ? value : []
}
