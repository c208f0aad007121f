/** The rule artifact in Redis, shared by all instances, of which only one polls. */
import { Type } from '@sinclair/typebox'
import { randomUUID } from 'node:crypto'
import type { ArtifactStore } from '../decisioning/artifact-store.ts'
import { checkOptions, strict } from '../validation.ts'
import { key as keySchema, lentClient, senderOf, type RedisClient } from './client.ts'

/** Options of {@link redisArtifactStore}. */
export interface RedisArtifactStoreOptions {
  /** The app's client of `ioredis` or `redis`; never closed by the store. */
  client: RedisClient
  /** Key of the hash that holds the artifact; the leader's key is `<key>:leader`. Default `fastify-adobe-target:artifact`. */
  key?: string
}

const OptionsSchema = Type.Object({ client: lentClient, key: Type.Optional(keySchema) }, strict)

/**
 * Keeps the rule artifact in a hash, and the leader in a key beside it that expires unless renewed.
 *
 * @throws FST_TARGET_INVALID_OPTIONS naming the option
 */
export function redisArtifactStore (options: RedisArtifactStoreOptions): Required<ArtifactStore> {
  const { client, key = 'fastify-adobe-target:artifact' } = checkOptions<RedisArtifactStoreOptions>(OptionsSchema, options, { call: 'redisArtifactStore()' })
  const send = senderOf(client)
  const leader = `${key}:leader`
  const id = randomUUID()

  return {
    async read (known) {
      const [digest, location, fetchedAt] = texts(await send(key, 'HMGET', key, 'digest', 'location', 'fetchedAt'))
      if (digest === undefined) return undefined
      if (digest === known?.digest && location === known.location) return { ...known, fetchedAt: Number(fetchedAt) }
      // In one command: the artifact may be replaced between two.
      const whole = texts(await send(key, 'HMGET', key, 'json', 'digest', 'location', 'etag', 'fetchedAt'))
      if (whole[0] === undefined) return undefined
      return { json: whole[0], digest: whole[1]!, location: whole[2]!, etag: whole[3] || undefined, fetchedAt: Number(whole[4]) }
    },

    async write ({ json, digest, location, etag = '', fetchedAt }) {
      const [heldDigest, heldLocation] = texts(await send(key, 'HMGET', key, 'digest', 'location'))
      const held = heldDigest === digest && heldLocation === location
      await send(key, 'HSET', key, 'digest', digest, 'location', location, 'etag', etag, 'fetchedAt', String(fetchedAt), ...(held ? [] : ['json', json]))
    },

    async lead (term) {
      if (text(await send(leader, 'SET', leader, id, 'NX', 'PX', String(term))) === 'OK') return true
      if (text(await send(leader, 'GET', leader)) !== id) return false
      // If the key has just expired and another instance took it, both lead for one term: one extra poll, nothing worse.
      await send(leader, 'PEXPIRE', leader, String(term))
      return true
    }
  }
}

const text = (reply: unknown) => reply === null || reply === undefined ? undefined : String(reply)
const texts = (reply: unknown) => (reply as unknown[]).map(text)
