/** What the commands print to: lines, colours only on a terminal, progress only where somebody watches. */
import { styleText } from 'node:util'

type Format = Parameters<typeof styleText>[0]

/** The streams that a terminal writes to; those of `process` fit. */
export interface Output {
  write (text: string): unknown
  isTTY?: boolean
  columns?: number
}

/** Prints what a command has to say. */
export class Terminal {
  readonly #stdout: Output
  readonly #stderr: Output
  readonly #colours: boolean
  #progress = false

  /** @param env `NO_COLOR` (no-color.org) and `TERM=dumb` turn colours off */
  constructor (stdout: Output, stderr: Output, env: Record<string, string | undefined>) {
    this.#stdout = stdout
    this.#stderr = stderr
    this.#colours = stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'
  }

  /** Columns of the terminal; 80 where the output goes elsewhere. */
  get width (): number { return this.#stdout.columns ?? 80 }

  /** A line of the result. */
  line (text = ''): void {
    this.#clearProgress()
    this.#stdout.write(`${text}\n`)
  }

  /** A line about the command itself: errors and hints, kept apart from the result. */
  note (text: string): void {
    this.#clearProgress()
    this.#stderr.write(`${text}\n`)
  }

  /** Shows how far long work has come, on one line that the next output replaces. Nothing where stderr is not a terminal. */
  progress (text: string): void {
    if (this.#stderr.isTTY !== true) return
    this.#stderr.write(`\r\u001B[K${text}`)
    this.#progress = true
  }

  /** Text in a format of `node:util`'s `styleText`, where colours are on. */
  style (format: Format, text: string): string {
    return this.#colours ? styleText(format, text) : text
  }

  /** A bar of a chart. @param share 0 to 1 */
  bar (share: number, width: number): string {
    return '█'.repeat(Math.round(share * width)).padEnd(width, '·')
  }

  #clearProgress (): void {
    if (!this.#progress) return
    this.#stderr.write('\r\u001B[K')
    this.#progress = false
  }
}

/** Text from artifacts, servers and requests on one line: escape sequences in it must not reach the terminal. */
export const clean = (text: unknown, maxLength = 200): string => {
  const line = String(text).replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim()
  return line.length > maxLength ? `${line.slice(0, maxLength - 1)}…` : line
}
