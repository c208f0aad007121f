/** One way to send commands over the clients that an app may lend. Neither `ioredis` nor `redis` is loaded here. */
import { passing, text } from '../validation.ts'

/** A client of `ioredis` (so the one of `@fastify/redis`) or `iovalkey`, also of a cluster. */
export interface IoredisClient {
  call (command: string, ...args: string[]): Promise<unknown>
}

/** A client or a pool of `redis`. */
export interface NodeRedisClient {
  sendCommand (args: string[]): Promise<unknown>
}

/** A sentinel client of `redis`. */
export interface NodeRedisSentinel {
  sendCommand (isReadonly: boolean | undefined, args: string[]): Promise<unknown>
}

/** A cluster client of `redis`. */
export interface NodeRedisCluster {
  sendCommand (firstKey: string | undefined, isReadonly: boolean | undefined, args: string[]): Promise<unknown>
}

/** A connected client that the app lends: it is shared with the app's own commands, and never closed. */
export type RedisClient = IoredisClient | NodeRedisClient | NodeRedisSentinel | NodeRedisCluster

/** Sends a command about one key. */
export type RedisSend = (key: string, ...command: string[]) => Promise<unknown>

/** Schema of the option `client`. */
export const lentClient = passing((value) => typeof Object(value).call === 'function' || typeof Object(value).sendCommand === 'function', 'a client of ioredis or redis')

/** Schema of a Redis key. */
export const key = text('.', 'a Redis key, a string that is not empty')

/** Finds out what kind of client it is. */
export function senderOf (client: RedisClient): RedisSend {
  const send = commandOf(client)
  return async (key, ...command) => {
    try {
      return await send(key, command)
    } catch (error) {
      // A client's own error holds the command with its arguments, which are visitors' data and have no place in a log.
      throw new Error(`Redis: ${error instanceof Error ? error.message : 'unknown error'}`)
    }
  }
}

function commandOf (client: RedisClient): (key: string, command: string[]) => Promise<unknown> {
  const { call, sendCommand } = client as { call?: Function, sendCommand?: Function }
  // A client of ioredis has `sendCommand` as well, for objects of its own class.
  if (call !== undefined) return async (_key, command) => await call.apply(client, command)
  switch (sendCommand!.length) {
    case 4: return async (key, command) => await sendCommand!.call(client, key, false, command)
    case 3: return async (_key, command) => await sendCommand!.call(client, false, command)
    default: return async (_key, command) => await sendCommand!.call(client, command)
  }
}
