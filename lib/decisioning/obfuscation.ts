/**
 * The obfuscated artifact, `rules.bin`: `<prefix>:<version>` in 8 bytes, a key of 32, then the JSON text, each byte XORed
 * with the organization id and the key, repeated. This is obfuscation, not encryption.
 *
 * Source: behaviour of `@adobe/target-decisioning-engine` 1.9.3.
 */
import { failure } from '../errors.ts'
import { Slices } from './slices.ts'

const KEY_START = 8
const TEXT_START = 40

/** Bytes between two looks at the clock. */
const STEP = 64 * 1024

/**
 * @param file the whole file
 * @param organizationId IMS organization id of the client it was made for
 * @returns the bytes of the JSON text; rejects with `FST_TARGET_ARTIFACT` if the file is truncated or not of version 1. With a
 * wrong organization id the result is not JSON.
 */
export async function deobfuscate (file: Uint8Array, organizationId: string): Promise<Uint8Array> {
  if (file.length <= TEXT_START) throw failure('FST_TARGET_ARTIFACT', 'the obfuscated file is truncated')
  const header = Buffer.from(file.subarray(0, KEY_START)).toString('latin1')
  if (Number.parseInt(header.split(':')[1] ?? '', 10) !== 1) {
    throw failure('FST_TARGET_ARTIFACT', 'the file is not obfuscated in format version 1')
  }

  const key = Buffer.concat([Buffer.from(organizationId), file.subarray(KEY_START, TEXT_START)])
  const text = new Uint8Array(file.length - TEXT_START)
  const slices = new Slices()
  for (let start = 0; start < text.length; start += STEP) {
    const end = Math.min(start + STEP, text.length)
    for (let i = start; i < end; i++) text[i] = file[TEXT_START + i]! ^ key[i % key.length]!
    if (slices.isOver) await slices.next()
  }
  return text
}
