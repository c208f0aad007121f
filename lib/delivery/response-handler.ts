/**
 * What a transfer is told about its request and the response: by undici's client, or by the app's own dispatcher.
 *
 * undici 7 has two interfaces for handlers. It uses the older one itself, as in `request()`, and marks it deprecated in its types;
 * a handler of the newer one is wrapped, and all headers of its responses are parsed (`lib/handler/unwrap-handler.js`), which is 3 to
 * 6 % of the CPU of a page. So the client, whose version is this package's choice, gets the older one, and the app's dispatcher,
 * which undici 8 may have made, the newer one. With undici 8, which has no other, {@link DispatcherHandler} serves both.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { loadedUndici } from './undici.ts'

/** Headers as they come: names and values in turn, or parsed already. */
export type ReceivedHeaders = Buffer[] | IncomingHttpHeaders

/** Handles one request and its response: undici's older interface. */
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

/** The newer interface, for the app's own dispatcher. */
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

/** Whether there may be a header of that name, judged by the length of the names. Cheaper than parsing them. */
export function mayHave (headers: ReceivedHeaders, name: string): boolean {
  return Array.isArray(headers) ? headers.some((text, index) => index % 2 === 0 && text.length === name.length) : name in headers
}
