/**
 * Decodes a response's content, for stores and proxies that compress even though it is not requested here.
 *
 * Runs off the event loop, and the limit applies to the decoded size: a decompression bomb is refused as soon as it exceeds it.
 */
import type { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib'
import { mayHave, parseHeaders, type ReceivedHeaders } from './response-handler.ts'

/** Bytes of a decoded chunk. */
const chunkSize = 64 * 1024

/** By name, in lower case (RFC 9110, 8.4.1). Some servers send `deflate` without the wrapper that the RFC requires. */
const DECODERS: Readonly<Record<string, (body: readonly Buffer[]) => Transform>> = {
  gzip: () => createGunzip({ chunkSize }),
  'x-gzip': () => createGunzip({ chunkSize }),
  deflate: (body) => (body[0]![0]! & 0x0f) === 8 ? createInflate({ chunkSize }) : createInflateRaw({ chunkSize }),
  br: () => createBrotliDecompress({ chunkSize })
}

/** Maximum number of nested codings, each of which may expand to the limit. */
const MAX_CODINGS = 3

/** The codings of a response, the last applied first; empty if its content is not encoded. */
export function codingsOf (headers: ReceivedHeaders): string[] {
  if (!mayHave(headers, 'content-encoding')) return NONE
  const header = parseHeaders(headers)['content-encoding']
  if (header === undefined || header === '') return NONE
  return String(header).toLowerCase().split(',').map((coding) => coding.trim()).filter((coding) => coding !== '' && coding !== 'identity').reverse()
}

const NONE: string[] = []

/**
 * Decodes a body, in chunks: joining those of a large one blocks the event loop.
 *
 * @param codings from {@link codingsOf}
 * @param maxSize maximum decoded size in bytes
 * @throws (rejects) Error with a message for users, without any of the body
 */
export async function decodeContent (body: readonly Buffer[], codings: string[], maxSize: number): Promise<readonly Buffer[]> {
  if (codings.length > MAX_CODINGS) throw new Error(`more than ${MAX_CODINGS} content codings`)
  let content = body
  for (const coding of codings) {
    const decoder = Object.hasOwn(DECODERS, coding) ? DECODERS[coding] : undefined
    if (decoder === undefined) throw new Error(`an unknown content coding${/^[\w-]{1,20}$/.test(coding) ? `: ${coding}` : ''}`)
    if (content.length === 0) return content
    const decoded: Buffer[] = []
    let size = 0
    try {
      await pipeline(content, decoder(content), async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) {
          size += chunk.length
          // Leaving the loop ends the decoder.
          if (size > maxSize) return
          decoded.push(chunk)
        }
      })
    } catch (error) {
      if (size <= maxSize) throw new Error(`its ${coding} coding is broken (${String((error as { code?: unknown }).code)})`)
    }
    if (size > maxSize) throw new Error(`more than ${maxSize} bytes when decoded (${coding})`)
    content = decoded
  }
  return content
}
