/**
 * What a transfer is told about its request: by undici's client, whose own handlers have the same methods, or by the app's own
 * dispatcher.
 *
 * undici 7 wraps a handler of its public interface into one of these, and parses the headers of each response for it: 5 % of the
 * CPU of a page.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { loadedUndici } from './undici.ts'

/** Headers as they come: names and values in turn, or parsed already. */
export type ReceivedHeaders = Buffer[] | IncomingHttpHeaders

/** Handles one request and its response. */
export interface ResponseHandler {
  /** The request is put on a connection. May throw, and keeps the connection by that; `abort` closes it. */
  onConnect (abort: (reason: Error) => void): void
  /** The first byte of a response has come. */
  onResponseStarted (): void
  /** Called for informational responses (1xx), too. `true`: go on reading. */
  onHeaders (status: number, headers: ReceivedHeaders): true
  /** `true`: go on reading. */
  onData (chunk: Buffer): true
  onComplete (): void
  onError (error: unknown): void
}

/** Passes on what the app's own dispatcher says, in undici's public interface. */
export class DispatcherHandler implements Dispatcher.DispatchHandler {
  readonly #handler: ResponseHandler

  constructor (handler: ResponseHandler) {
    this.#handler = handler
  }

  onRequestStart (controller: Dispatcher.DispatchController): void {
    this.#handler.onConnect((reason) => controller.abort(reason))
  }

  onResponseStarted (): void {
    this.#handler.onResponseStarted()
  }

  onResponseStart (_controller: unknown, status: number, headers: IncomingHttpHeaders): void {
    this.#handler.onHeaders(status, headers)
  }

  onResponseData (_controller: unknown, chunk: Buffer): void {
    this.#handler.onData(chunk)
  }

  onResponseEnd (): void {
    this.#handler.onComplete()
  }

  onResponseError (_controller: unknown, error: unknown): void {
    this.#handler.onError(error)
  }
}

/** The headers by name, in lower case. */
export function parseHeaders (headers: ReceivedHeaders): IncomingHttpHeaders {
  return Array.isArray(headers) ? loadedUndici()!.util.parseHeaders(headers) : headers
}

/** Whether there may be a header of that name. Cheaper than parsing them. */
export function mayHave (headers: ReceivedHeaders, name: string): boolean {
  return Array.isArray(headers) ? headers.some((text, index) => index % 2 === 0 && text.length === name.length) : name in headers
}
