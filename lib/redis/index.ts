/** fastify-adobe-target/redis: stores that use the app's own Redis client. */
export { redisArtifactStore, type RedisArtifactStoreOptions } from './artifact-store.ts'
export type { IoredisClient, NodeRedisClient, NodeRedisCluster, NodeRedisSentinel, RedisClient } from './client.ts'
export { redisStore, type RedisStoreOptions } from './outbox-store.ts'
