#!/usr/bin/env node
/** The command line: `npx fastify-adobe-target <command>`. */
import { runCommandLine } from './run.ts'
import { Terminal } from './terminal.ts'

// If a reader such as `head` closes the pipe, the command ends without an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
process.exitCode = await runCommandLine(process.argv.slice(2), new Terminal(process.stdout, process.stderr, process.env))
