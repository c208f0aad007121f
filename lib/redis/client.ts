/** One way to send commands over the app's own Redis client. Neither `ioredis` nor `redis` is loaded here. */
import { passing, text } from '../validation.ts'

/** A client or cluster client of `ioredis` (as in `@fastify/redis`) or `iovalkey`. */
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

/** A connected client of the app: shared with the app's own commands, and never closed. */
export type RedisClient = IoredisClient | NodeRedisClient | NodeRedisSentinel | NodeRedisCluster

/** Sends a command about one key. */
export type RedisSend = (key: string, ...command: string[]) => Promise<unknown>

/** Schema of the option `client`. */
export const lentClient = passing((value) => typeof Object(value).call === 'function' || typeof Object(value).sendCommand === 'function', 'a client of ioredis or redis')

/** Schema of a Redis key. */
export const key = text('.', 'a Redis key, a string that is not empty')

/** Returns a sender for whichever kind of client it is. */
export function senderOf (client: RedisClient): RedisSend {
  const send = commandOf(client)
  return async (key, ...command) => {
    try {
      return await send(key, command)
    } catch (error) {
      // The client's own error contains the command's arguments: visitor data, which must not be logged.
      throw new Error(`Redis: ${error instanceof Error ? error.message : 'unknown error'}`)
    }
  }
}

function commandOf (client: RedisClient): (key: string, command: string[]) => Promise<unknown> {
  const { call, sendCommand } = client as { call?: Function, sendCommand?: Function }
  // ioredis clients also have a `sendCommand`, which accepts only ioredis's Command objects.
  if (call !== undefined) return async (_key, command) => await call.apply(client, command)
  switch (sendCommand!.length) {
    case 4: return async (key, command) => await sendCommand!.call(client, key, false, command)
    case 3: return async (_key, command) => await sendCommand!.call(client, false, command)
    default: return async (_key, command) => await sendCommand!.call(client, command)
  }
}
