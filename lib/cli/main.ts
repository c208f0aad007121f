#!/usr/bin/env node
/** The command line: `npx fastify-adobe-target <command>`. */
import { runCommandLine } from './run.ts'
import { Terminal } from './terminal.ts'

// A reader that closes the pipe, such as `head`, ends the command without an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
process.exitCode = await runCommandLine(process.argv.slice(2), new Terminal(process.stdout, process.stderr, process.env))
