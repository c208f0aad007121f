/**
 * Decodes a response's content, for stores and proxies that compress even though it is not requested here.
 *
 * Runs off the event loop, and the limit applies to the decoded size: a decompression bomb is refused as soon as it exceeds it.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate, inflateRaw, type ZlibOptions } from 'node:zlib'

type Decoder = (body: Buffer, options: ZlibOptions) => Promise<Buffer>

const unzip: Decoder = promisify(gunzip)
const unwrap: Decoder = promisify(inflate)
const unwrapRaw: Decoder = promisify(inflateRaw)

/** By name, in lower case (RFC 9110, 8.4.1). Some servers send `deflate` without the wrapper that the RFC requires. */
const DECODERS: Readonly<Record<string, Decoder>> = {
  gzip: unzip,
  'x-gzip': unzip,
  deflate: (body, options) => (body[0]! & 0x0f) === 8 ? unwrap(body, options) : unwrapRaw(body, options),
  br: promisify(brotliDecompress)
}

/** Maximum number of nested codings, each of which may expand to the limit. */
const MAX_CODINGS = 3

/** The codings of a response, the last applied first; empty if its content is not encoded. */
export function codingsOf (headers: IncomingHttpHeaders): string[] {
  const header = headers['content-encoding']
  if (header === undefined || header === '') return NONE
  return String(header).toLowerCase().split(',').map((coding) => coding.trim()).filter((coding) => coding !== '' && coding !== 'identity').reverse()
}

const NONE: string[] = []

/**
 * Decodes a body.
 *
 * @param codings from {@link codingsOf}
 * @param maxSize maximum decoded size in bytes
 * @throws (rejects) Error with a message for users, without any of the body
 */
export async function decodeContent (body: Buffer, codings: string[], maxSize: number): Promise<Buffer> {
  if (codings.length > MAX_CODINGS) throw new Error(`more than ${MAX_CODINGS} content codings`)
  let content = body
  for (const coding of codings) {
    const decode = Object.hasOwn(DECODERS, coding) ? DECODERS[coding] : undefined
    if (decode === undefined) throw new Error(`an unknown content coding${/^[\w-]{1,20}$/.test(coding) ? `: ${coding}` : ''}`)
    if (content.length === 0) return content
    try {
      content = await decode(content, { maxOutputLength: maxSize })
    } catch (error) {
      const { code } = error as { code?: unknown }
      throw new Error(code === 'ERR_BUFFER_TOO_LARGE' ? `more than ${maxSize} bytes when decoded (${coding})` : `its ${coding} coding is broken (${String(code)})`)
    }
  }
  return content
}
