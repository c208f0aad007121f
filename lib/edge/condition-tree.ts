/** The conditions of an artifact's rules, as trees of JSON-Logic: copies in which some operations are replaced. */
import { isObject } from '../validation.ts'

/**
 * Copies a condition.
 *
 * @param replace returns what stands in for an operation; undefined: its operands are copied
 */
export function copyCondition (condition: unknown, replace: (operation: Record<string, unknown>) => unknown): unknown {
  if (Array.isArray(condition)) return condition.map((part) => copyCondition(part, replace))
  if (!isObject(condition)) return condition
  const replaced = replace(condition)
  return replaced !== undefined ? replaced : Object.fromEntries(Object.entries(condition).map(([name, operands]) => [name, copyCondition(operands, replace)]))
}

/** Whether a part of a condition is the visitor's share of the traffic. */
export const isAllocation = (part: unknown): boolean => isObject(part) && (Array.isArray(part.var) ? part.var[0] : part.var) === 'allocation'
