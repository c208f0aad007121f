/** A redis-server of the benchmark's own, which ends with this process. Announces its socket; none where it is not installed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { answerParent } from './child.js'

const directory = mkdtempSync(join(tmpdir(), 'redis-bench-'))
const socket = join(directory, 'redis.sock')
// With the persistence that Redis recommends for data that matters.
const server = spawn('redis-server', ['--port', '0', '--unixsocket', socket, '--dir', directory, '--save', '', '--appendonly', 'yes'], { stdio: ['ignore', 'pipe', 'ignore'] })
process.on('SIGTERM', () => process.exit(1))
process.on('exit', () => {
  server.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
})

const ready = new Promise((resolve) => {
  let log = ''
  server.stdout.on('data', (chunk) => { if (/ready to accept connections/i.test(log += chunk)) resolve(true) })
})
const isThere = await Promise.race([ready, once(server, 'exit').then(() => false, () => false)])
answerParent({}, { socket: isThere ? socket : undefined })
