/**
 * The offers that the inspector forces on one page instead of Target's.
 */
import { forcedError, type ForcedOffer, type PageOverrides } from '../offers/inspection.ts'
import { NOT_REQUESTED, PendingCall, type Outcome } from './call.ts'
import type { TargetPlan } from './route-config.ts'

const EMPTY_PLAN: TargetPlan = { mboxes: new Set(), pageLoad: false, views: new Set() }

/** The forced offers of one page. */
export class ForcedOffers {
  readonly #overrides: PageOverrides
  /** The calls that fail as the inspector says, by fault. */
  readonly #faults = new Map<string | number, PendingCall>()

  constructor (overrides: PageOverrides) {
    this.#overrides = overrides
  }

  /** What is forced for an mbox, or for page load and views. */
  find (mbox: string | undefined): ForcedOffer | undefined {
    return this.#overrides.find(mbox)
  }

  /**
   * The call that a read of forced offers waits for; undefined if nothing is forced.
   *
   * @param timeout ms until a forced timeout
   */
  callFor (mbox: string | undefined, timeout: number): PendingCall | Outcome | undefined {
    const found = this.find(mbox)
    if (found === undefined) return undefined
    if (found.kind === 'options') return NOT_REQUESTED
    const { fault } = found
    const known = this.#faults.get(fault)
    if (known !== undefined) return known
    const call = new PendingCall('asked', EMPTY_PLAN)
    const fail = () => call.settle({ kind: 'failed', error: forcedError(fault, timeout) })
    if (fault === 'timeout') setTimeout(fail, timeout).unref()
    else fail()
    this.#faults.set(fault, call)
    return call
  }
}
