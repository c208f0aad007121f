/** One way to send commands over the clients that an app may lend. Neither `ioredis` nor `redis` is loaded here. */
import { failure } from '../errors.ts'

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

/**
 * @param option name of the function whose option `client` this is
 * @throws FST_TARGET_INVALID_OPTIONS if it is none of these clients
 */
export function senderOf (client: RedisClient, option: string): RedisSend {
  const { call, sendCommand } = Object(client) as { call?: Function, sendCommand?: Function }
  // A client of ioredis has `sendCommand` as well, for objects of its own class.
  if (typeof call === 'function') return async (_key, ...command) => await call.apply(client, command)
  if (typeof sendCommand !== 'function') {
    throw failure('FST_TARGET_INVALID_OPTIONS', `\`client\` of ${option} must be a client of ioredis or redis`)
  }
  switch (sendCommand.length) {
    case 4: return async (key, ...command) => await sendCommand.call(client, key, false, command)
    case 3: return async (_key, ...command) => await sendCommand.call(client, false, command)
    default: return async (_key, ...command) => await sendCommand.call(client, command)
  }
}
