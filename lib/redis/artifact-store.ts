/** The rule artifact in Redis: instances share it, and one of them polls. */
import { Type } from '@sinclair/typebox'
import { randomUUID } from 'node:crypto'
import type { ArtifactStore } from '../decisioning/artifact-store.ts'
import { checkOptions, strict } from '../validation.ts'
import { key as keySchema, lentClient, senderOf, type RedisClient } from './client.ts'

/** Options of {@link redisArtifactStore}. */
export interface RedisArtifactStoreOptions {
  /** Client of `ioredis` or `redis`, lent: it is never closed. */
  client: RedisClient
  /** Key of the hash that holds the artifact; the lead is `<key>:leader`. Default `fastify-adobe-target:artifact`. */
  key?: string
}

const OptionsSchema = Type.Object({ client: lentClient, key: Type.Optional(keySchema) }, strict)

/**
 * Keeps the rule artifact in a hash, and the lead in a key beside it that expires unless its holder renews it.
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
      // Together: it may have been replaced meanwhile.
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
      // If it has just expired, and another instance has it now, there are two for one term: one look too many, no more.
      await send(leader, 'PEXPIRE', leader, String(term))
      return true
    }
  }
}

const text = (reply: unknown) => reply === null || reply === undefined ? undefined : String(reply)
const texts = (reply: unknown) => (reply as unknown[]).map(text)
