/** A Redis of this example's own, on a socket in a folder of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export interface RunningRedis {
  /** Path of the socket. */
  path: string
  close (): Promise<void>
}

/** Undefined if `redis-server` is not installed. */
export async function startRedis (): Promise<RunningRedis | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'fleet-redis-'))
  const path = join(folder, 'redis.sock')
  const server = spawn('redis-server', ['--port', '0', '--unixsocket', path, '--dir', folder, '--save', ''], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(server, 'exit')
  const close = async () => {
    if (server.kill()) await exit
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await Promise.race([ready(server.stdout), exit])
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  return { path, close }
}

async function ready (log: NodeJS.ReadableStream): Promise<void> {
  for await (const line of createInterface({ input: log })) {
    if (!/ready to accept connections/i.test(line)) continue
    log.resume()
    return
  }
}
