/**
 * Calls of a page with overrides. Executing counts an impression, so everything is prefetched, and the response has nothing with
 * which a display or a click could be reported: no tokens, no metrics, no Analytics payload.
 */
import type { PageOverrides } from '../offers/inspection.ts'
import type { Answer } from '../offers/result.ts'
import type { DeliveryRequest, DeliveryResponse, MboxRequest, MboxResponse, PageLoadResponse, RequestDetails, View } from '../schema/index.ts'

/** A call that counts nothing, and its response as the page expects it. */
export interface UncountedCall {
  request: DeliveryRequest
  /** The response in the form of the original request, with the forced offers in it. */
  restore (answer: Answer): Answer
}

/** Makes a request that counts nothing. */
export function uncounted (original: DeliveryRequest, overrides: PageOverrides): UncountedCall {
  const { execute, prefetch, ...others } = original
  const executed = execute?.mboxes ?? []
  const places: MboxRequest[] = [...executed, ...prefetch?.mboxes ?? []]
  const pageLoad = execute?.pageLoad ?? prefetch?.pageLoad
  const request: DeliveryRequest = { ...others, prefetch: { ...prefetch } }
  // Indexes must be unique within a list, and these are two lists in one.
  if (places.length > 0) request.prefetch!.mboxes = places.map((mbox, index) => ({ ...withoutOrder(mbox), index }))
  if (pageLoad !== undefined) request.prefetch!.pageLoad = withoutOrder(pageLoad)
  return {
    request,
    restore ({ response, ...answer }) {
      const { prefetch: got, ...rest } = response
      const mboxes = (got?.mboxes ?? []).map((mbox) => ({ mbox: forced(unreportable(mbox), overrides), place: mbox.index ?? places.length }))
      const back = (from: number, to: number): MboxResponse[] => mboxes.filter(({ place }) => place >= from && place < to).map(({ mbox, place }) => {
        const index = places[place]?.index
        return index === undefined ? mbox : { ...mbox, index }
      })
      const restored: DeliveryResponse = { ...rest }
      if (execute !== undefined) {
        restored.execute = {
          ...execute.mboxes !== undefined && { mboxes: back(0, executed.length) },
          ...execute.pageLoad !== undefined && got?.pageLoad !== undefined && { pageLoad: unreportable(got.pageLoad) }
        }
      }
      if (prefetch !== undefined) {
        restored.prefetch = {
          ...prefetch.mboxes !== undefined && { mboxes: back(executed.length, Infinity) },
          ...prefetch.pageLoad !== undefined && got?.pageLoad !== undefined && { pageLoad: unreportable(got.pageLoad) },
          ...got?.views !== undefined && { views: got.views.map(unreportable) }
        }
      }
      return { ...answer, request: original, response: restored }
    }
  }
}

function withoutOrder<Details extends RequestDetails> (details: Details): Details {
  const { order, ...others } = details
  return others as Details
}

function unreportable<Entry extends MboxResponse | PageLoadResponse | View> (entry: Entry): Entry {
  const { metrics, analytics, ...others } = entry
  return { ...others, ...entry.options !== undefined && { options: entry.options.map(({ eventToken, ...option }) => option) } } as Entry
}

function forced (mbox: MboxResponse, overrides: PageOverrides): MboxResponse {
  const found = overrides.find(mbox.name)
  if (found === undefined) return mbox
  return { ...mbox, options: found.kind === 'options' ? [...found.options] : [] }
}
