/** Commands by name, their arguments and their exit codes. */
import { readFileSync } from 'node:fs'
import { type Command, CommandError, helpOf, PROGRAM, readArguments, UsageError } from './command.ts'
import { clean, type Terminal } from './terminal.ts'

/** Commands by name, each loaded when it is called. */
const commands = new Map<string, () => Promise<Command>>([
  ['edge', async () => (await import('./edge.ts')).edgeCommand],
  ['decide', async () => (await import('./decide.ts')).decideCommand],
  ['doctor', async () => (await import('./doctor.ts')).doctorCommand],
  ['types', async () => (await import('./types.ts')).typesCommand]
])

/**
 * Runs one command line.
 *
 * @param args the arguments after the program's name
 * @returns the exit code: 0; 1 if the result is not as it should be, or on an external failure; 2 if the arguments are invalid
 */
export async function runCommandLine (args: string[], terminal: Terminal): Promise<number> {
  try {
    return await run(args, terminal)
  } catch (error) {
    if (!(error instanceof UsageError) && !(error instanceof CommandError)) throw error
    terminal.note(`${terminal.style('red', 'error:')} ${clean(error.message, 1000)}`)
    if (error instanceof UsageError) terminal.note(`See ${PROGRAM} ${commands.has(args[0] ?? '') ? `${args[0]} ` : ''}--help`)
    return error instanceof UsageError ? 2 : 1
  }
}

async function run ([name, ...args]: string[], terminal: Terminal): Promise<number> {
  if (name === '--version' || name === '-v') {
    terminal.line(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version)
    return 0
  }
  const asksForHelp = name === '--help' || name === '-h' || name === 'help'
  if (name === undefined || (asksForHelp && args.length === 0)) {
    await overview(terminal)
    return name === undefined ? 2 : 0
  }
  const commandName = asksForHelp ? args[0]! : name
  const load = commands.get(commandName)
  if (load === undefined) throw new UsageError(`unknown command \`${commandName}\`; commands are ${[...commands.keys()].join(', ')}`)
  const command = await load()
  const values = asksForHelp ? { help: true } : readArguments(command, args)
  if (values.help === true) {
    terminal.line(helpOf(commandName, command, terminal))
    return 0
  }
  return await command.run(values, terminal)
}

async function overview (terminal: Terminal): Promise<void> {
  terminal.line(`${terminal.style('bold', PROGRAM)} <command> [options]`)
  terminal.line()
  for (const [name, load] of commands) terminal.line(`  ${name.padEnd(8)}${(await load()).summary}`)
  terminal.line()
  terminal.line(`Options of a command: ${PROGRAM} <command> --help`)
}
