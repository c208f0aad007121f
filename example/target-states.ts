/** What the shop's buttons make of the local Target, so that the page can be seen with a Target that fails. */
import type { TargetEdge } from 'fastify-adobe-target/edge'

export type TargetState = 'fine' | 'slow' | 'broken' | 'gone'

/** The buttons, and what they do. */
export const states: ReadonlyMap<TargetState, { button: string, now: string }> = new Map([
  ['slow', { button: 'Make Target slow', now: 'Target is slow: it takes half a second more than it should.' }],
  ['broken', { button: 'Break it', now: 'Target is broken: it answers with status 500.' }],
  ['gone', { button: 'Drop it', now: 'Target is gone: every connection is reset.' }],
  ['fine', { button: 'Repair it', now: 'Target is fine.' }]
])

/** Makes a local edge as a button says. */
export function setEdge (edge: TargetEdge, state: TargetState): void {
  if (state === 'slow') edge.fault('slow:500')
  else if (state === 'broken') edge.fault('status:500')
  else if (state === 'gone') edge.fault('reset')
  else edge.reset()
}
