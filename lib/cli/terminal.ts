/** Output of the commands: lines, with colours and progress only on a terminal. */
import { styleText } from 'node:util'

type Format = Parameters<typeof styleText>[0]

/** A stream that a terminal writes to, such as `process.stdout`. */
export interface Output {
  write (text: string): unknown
  isTTY?: boolean
  columns?: number
}

/** Prints a command's output. */
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

  /** Columns of the terminal; 80 if the output is not one. */
  get width (): number { return this.#stdout.columns ?? 80 }

  /** Prints a line of the result. */
  line (text = ''): void {
    this.#clearProgress()
    this.#stdout.write(`${text}\n`)
  }

  /** Prints a line about the command itself, such as errors and hints, to stderr. */
  note (text: string): void {
    this.#clearProgress()
    this.#stderr.write(`${text}\n`)
  }

  /** Shows the progress of long work on one line, which the next output replaces. Does nothing unless stderr is a terminal. */
  progress (text: string): void {
    if (this.#stderr.isTTY !== true) return
    this.#stderr.write(`\r\u001B[K${text}`)
    this.#progress = true
  }

  /** Applies a format of `node:util`'s `styleText` if colours are on. */
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

/** Text from artifacts, servers and requests on one line, without escape sequences, which must not reach the terminal. */
export const clean = (text: unknown, maxLength = 200): string => {
  const line = String(text).replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim()
  return line.length > maxLength ? `${line.slice(0, maxLength - 1)}…` : line
}
