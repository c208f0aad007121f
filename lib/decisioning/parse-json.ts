/**
 * Parses a large JSON file without blocking the event loop: by `JSON.parse`, in pieces.
 *
 * A file is cut at the commas of its outer levels. Large objects and lists are put together from their pieces; everything
 * else is left to `JSON.parse`, which also finds what is not JSON.
 */
import { Slices } from './slices.ts'

/** Bytes parsed at once, less than a millisecond's work. */
const PIECE = 64 * 1024

/** Levels at which a file is cut. In an artifact: itself, its rules, its mboxes, and the rules of each. */
const LEVELS = 4

const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c
const OPENING_BRACKET = 0x5b
const CLOSING_BRACKET = 0x5d
const OPENING_BRACE = 0x7b
const CLOSING_BRACE = 0x7d

/**
 * Parses UTF-8 to what `JSON.parse` would return, in slices of a few milliseconds.
 *
 * @param options `piece`: bytes parsed at once; default 64 KiB
 * @returns rejects with a `SyntaxError` if it is not JSON
 */
export async function parseJson (bytes: Uint8Array, { piece = PIECE }: { piece?: number } = {}): Promise<unknown> {
  const file = withoutMark(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  const parser = new PieceParser(file, piece)
  const slices = new Slices()
  for (let start = 0; start < file.length; start += piece) {
    parser.read(start, Math.min(start + piece, file.length))
    if (slices.isOver) await slices.next()
  }
  return parser.end()
}

/** An object or list that is not closed yet. */
class Container {
  readonly start: number
  readonly isList: boolean
  /** Members parsed so far; undefined while there are none. */
  members: unknown[] | Record<string, unknown> | undefined
  /** Where the members that are not parsed yet start. */
  rest: number
  /** Where the current member starts. */
  member: number
  /** Whether the current member is parsed, so that only a comma or the end may follow. */
  isMemberParsed = false

  constructor (start: number, isList: boolean) {
    this.start = start
    this.isList = isList
    this.rest = this.member = start + 1
  }
}

/** Reads a file from its start to its end, and parses what it has read. */
class PieceParser {
  readonly #file: Buffer
  readonly #piece: number
  /** The open containers of the outer levels, outermost first. */
  readonly #open: Container[] = []
  #depth = 0
  #isInString = false
  #isEscaped = false
  /** The outermost container, once it is closed and was parsed in pieces. */
  #root: Container | undefined
  #rootEnd = 0

  constructor (file: Buffer, piece: number) {
    this.#file = file
    this.#piece = piece
  }

  /** Reads the bytes from `start` to `end`, the next ones. */
  read (start: number, end: number): void {
    const file = this.#file
    let isInString = this.#isInString
    let isEscaped = this.#isEscaped
    for (let i = start; i < end; i++) {
      const byte = file[i]
      if (isInString) {
        if (isEscaped) isEscaped = false
        else if (byte === BACKSLASH) isEscaped = true
        else if (byte === QUOTE) isInString = false
      } else if (byte === QUOTE) isInString = true
      else if (byte === COMMA) this.#comma(i)
      else if (byte === OPENING_BRACE || byte === OPENING_BRACKET) this.#begin(i, byte === OPENING_BRACKET)
      else if (byte === CLOSING_BRACE || byte === CLOSING_BRACKET) this.#close(i, byte === CLOSING_BRACKET)
    }
    this.#isInString = isInString
    this.#isEscaped = isEscaped
  }

  /** The parsed file. */
  end (): unknown {
    if (this.#depth > 0) throw new SyntaxError('JSON is truncated')
    if (this.#root === undefined) return JSON.parse(this.#text(0, this.#file.length))
    this.#assertBlank(0, this.#root.start)
    this.#assertBlank(this.#rootEnd, this.#file.length)
    return this.#root.members
  }

  #begin (start: number, isList: boolean): void {
    this.#depth += 1
    if (this.#depth <= LEVELS) this.#open.push(new Container(start, isList))
  }

  #comma (at: number): void {
    if (this.#depth > LEVELS) return
    const container = this.#open.at(-1)
    if (container === undefined) return
    if (container.isMemberParsed || at - container.rest >= this.#piece) this.#parse(container, at)
    container.member = at + 1
  }

  #close (end: number, isList: boolean): void {
    this.#depth -= 1
    if (this.#depth >= LEVELS) return
    const container = this.#open.pop()
    if (container?.members === undefined) return
    if (container.isList !== isList) throw new SyntaxError(`JSON has the wrong bracket at position ${end}`)
    this.#parse(container, end)
    const parent = this.#open.at(-1)
    if (parent !== undefined) return this.#add(parent, container, end)
    this.#root = container
    this.#rootEnd = end + 1
  }

  /** Parses what is left of a container up to a comma or its end. */
  #parse (container: Container, end: number): void {
    const { rest, isMemberParsed } = container
    container.rest = end + 1
    container.isMemberParsed = false
    if (isMemberParsed) this.#assertBlank(rest, end)
    else merge(container, this.#members(container, rest, end, ''))
  }

  /** Adds a container to its parent, of which everything up to it is parsed. */
  #add (parent: Container, { start, members }: Container, end: number): void {
    if (parent.isMemberParsed) throw new SyntaxError(`JSON lacks a comma before position ${start}`)
    if (parent.rest < parent.member) this.#parse(parent, parent.member - 1)
    // An empty list stands for what is parsed already.
    const added = this.#members(parent, parent.member, start, '[]')
    for (const key of Object.keys(added)) define(added, key, members)
    merge(parent, added)
    parent.rest = end + 1
    parent.isMemberParsed = true
  }

  #members ({ isList }: Container, start: number, end: number, last: string): unknown[] | Record<string, unknown> {
    const text = this.#text(start, end) + last
    const members = JSON.parse(isList ? `[${text}]` : `{${text}}`)
    if (Object.keys(members).length === 0) throw new SyntaxError(`JSON lacks a value before position ${end}`)
    return members
  }

  #assertBlank (start: number, end: number): void {
    if (/[^ \t\r\n]/.test(this.#text(start, end))) throw new SyntaxError(`JSON has something unexpected after position ${start}`)
  }

  #text (start: number, end: number): string { return this.#file.toString('utf8', start, end) }
}

/** JSON has no byte order mark, but some editors write one. */
function withoutMark (file: Buffer): Buffer {
  return file.toString('utf8', 0, 3) === '\ufeff' ? file.subarray(3) : file
}

/** Adds members to a container; those added later come later, or replace an earlier one of the same name. */
function merge (container: Container, added: unknown[] | Record<string, unknown>): void {
  const { members } = container
  if (members === undefined) container.members = added
  else if (Array.isArray(members)) for (const member of added as unknown[]) members.push(member)
  else for (const [key, member] of Object.entries(added)) define(members, key, member)
}

/** Sets an own member, as `JSON.parse` does: assigning `__proto__` would set the prototype. */
function define (members: unknown[] | Record<string, unknown>, key: string, member: unknown): void {
  if (key === '__proto__') Object.defineProperty(members, key, { value: member, configurable: true, enumerable: true, writable: true })
  else (members as Record<string, unknown>)[key] = member
}
