/** The shape of a command: its options, its help, and how its arguments are parsed. */
import { parseArgs } from 'node:util'
import { mostSimilar } from '../validation.ts'
import type { Terminal } from './terminal.ts'

/** An option of a command, as accepted by `parseArgs` of `node:util`, with its line of help. */
export interface CommandOption {
  type: 'string' | 'boolean'
  /** May be used several times. */
  multiple?: boolean
  /** Name of its value in the help, in upper case. */
  value?: string
  description: string
}

/** Values of options by name, as `parseArgs` returns them. */
export type Values = Record<string, string | boolean | (string | boolean)[] | undefined>

/** A command. */
export interface Command {
  /** One line of help. */
  summary: string
  /** Options by their long name. */
  options: Record<string, CommandOption>
  /** Arguments of complete commands to copy. */
  examples: string[]
  /** @returns the exit code: 0, or 1 if the result is not as it should be */
  run (values: Values, terminal: Terminal): Promise<number>
}

/** An invalid command line; the message says what to write. The exit code is 2. */
export class UsageError extends Error {}

/** An external failure, such as a file that cannot be read. The exit code is 1. */
export class CommandError extends Error {}

/** The program's name as typed. */
export const PROGRAM = 'npx fastify-adobe-target'

/**
 * Parses a command's arguments.
 *
 * @throws UsageError naming the argument
 */
export function readArguments ({ options }: Command, args: string[]): Values {
  const known = { ...Object.fromEntries(Object.entries(options).map(([name, { type, multiple = false }]) => [name, { type, multiple }])), help: { type: 'boolean' as const } }
  const { values, tokens } = parseArgs({ args, options: known, strict: false, allowPositionals: true, tokens: true })
  for (const token of tokens) {
    if (token.kind === 'positional') throw new UsageError(`unexpected argument \`${token.value}\`; options begin with --`)
    if (token.kind !== 'option') continue
    const option = token.name === 'help' ? { type: 'boolean' as const, multiple: false } : Object.hasOwn(options, token.name) ? options[token.name]! : undefined
    if (option === undefined) throw new UsageError(unknownOption(token.rawName, Object.keys(options)))
    if (option.type === 'string' && token.value === undefined) throw new UsageError(`\`--${token.name}\` needs a value`)
    if (option.type === 'boolean' && token.value !== undefined) throw new UsageError(`\`--${token.name}\` takes no value`)
    if (option.multiple !== true && tokens.some((other) => other !== token && other.kind === 'option' && other.name === token.name)) throw new UsageError(`\`--${token.name}\` is given twice`)
  }
  return values as Values
}

function unknownOption (given: string, names: string[]): string {
  const name = given.replace(/^-+/, '')
  const similar = mostSimilar(name, names)
  return `unknown option \`${given}\`${similar === undefined ? '' : ` (did you mean \`--${similar}\`?)`}`
}

/** The help of one command. */
export function helpOf (name: string, { summary, options, examples }: Command, terminal: Terminal): string {
  const names = Object.entries(options).map(([option, { type, value }]) => type === 'string' ? `--${option} ${value ?? 'TEXT'}` : `--${option}`)
  const width = Math.max(...names.map((text) => text.length)) + 2
  return [
    summary,
    '',
    terminal.style('bold', 'Options'),
    ...Object.values(options).map(({ description }, index) => `  ${names[index]!.padEnd(width)}${description.replaceAll('\n', `\n  ${' '.repeat(width)}`)}`),
    '',
    terminal.style('bold', 'Examples'),
    ...examples.map((example) => `  ${PROGRAM} ${name} ${example}`)
  ].join('\n')
}

/** The value of a text option; undefined if missing or empty. */
export function textOf (values: Values, name: string): string | undefined {
  const value = values[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** The values of an option that may be used several times. */
export const textsOf = (values: Values, name: string): string[] => [values[name] ?? []].flat().map(String)

/** A whole number. @throws UsageError naming the option */
export function integerOf (values: Values, name: string, minimum: number, maximum: number): number | undefined {
  const text = textOf(values, name)
  if (text === undefined) return undefined
  const number = Number(text)
  if (!Number.isInteger(number) || number < minimum || number > maximum) throw new UsageError(`\`--${name}\` must be an integer from ${minimum} to ${maximum}, got ${JSON.stringify(text)}`)
  return number
}

/** Pairs such as `member=gold`. @throws UsageError naming the option */
export function pairsOf (values: Values, name: string): Array<[string, string]> {
  return textsOf(values, name).map((text) => {
    const at = text.indexOf('=')
    if (at < 1) throw new UsageError(`\`--${name}\` must be NAME=VALUE, got ${JSON.stringify(text)}`)
    return [text.slice(0, at), text.slice(at + 1)]
  })
}
