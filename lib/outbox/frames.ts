/**
 * The format of a journal on disk: a sequence of frames, each of length, checksum and body.
 *
 * A body is text: `A<number> <payload>` for a record, `S<number>,<number>…` for settled records. A process may die in the
 * middle of a write and a disk may fill up, so a journal may end in a partial frame or in garbage. It is read up to the first
 * invalid frame.
 */
import { crc32 } from 'node:zlib'

/** Bytes before a body: its length and its CRC-32, each an unsigned 32-bit little-endian integer. */
const HEADER = 8

/** A greater length means garbage, not a body. */
const MAX_BODY = 64 * 1024 * 1024

/** Frames of records, as one buffer. */
export function recordFrames (first: number, payloads: readonly string[]): Buffer {
  return Buffer.concat(payloads.map((payload, index) => frame(`A${first + index} ${payload}`)))
}

/** One frame that settles records. */
export function settleFrame (numbers: readonly number[]): Buffer {
  return frame(`S${numbers.join(',')}`)
}

function frame (body: string): Buffer {
  const length = Buffer.byteLength(body)
  const buffer = Buffer.allocUnsafe(HEADER + length)
  buffer.write(body, HEADER)
  buffer.writeUInt32LE(length, 0)
  buffer.writeUInt32LE(crc32(buffer.subarray(HEADER)), 4)
  return buffer
}

/** Callbacks of {@link readFrames}. */
export interface FrameReader {
  /** Called for each record. @param read returns its payload; decoding costs time, so call it only where needed */
  record?: (number: number, read: () => string) => void
  settled?: (numbers: number[]) => void
}

/**
 * Reads a journal.
 *
 * @param checked bytes already known to be valid frames: their checksums are not verified again
 * @returns the number of bytes in valid frames
 */
export function readFrames (journal: Buffer, reader: FrameReader, checked = 0): number {
  let at = 0
  while (at + HEADER <= journal.length) {
    const length = journal.readUInt32LE(at)
    const end = at + HEADER + length
    if (length === 0 || length > MAX_BODY || end > journal.length) return at
    const start = at + HEADER
    if (end > checked && crc32(journal.subarray(start, end)) !== journal.readUInt32LE(at + 4)) return at
    const kind = journal[start]
    if (kind === A && reader.record !== undefined) {
      let number = 0
      let space = start + 1
      for (; space < end && journal[space] !== SPACE; space++) number = number * 10 + journal[space]! - ZERO
      reader.record(number, () => journal.toString('utf8', space + 1, end))
    } else if (kind === S) reader.settled?.(journal.toString('latin1', start + 1, end).split(',').map(Number))
    at = end
  }
  return at
}

const A = 'A'.charCodeAt(0)
const S = 'S'.charCodeAt(0)
const SPACE = ' '.charCodeAt(0)
const ZERO = '0'.charCodeAt(0)
