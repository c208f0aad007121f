/** fastify-adobe-target/redis: stores in a Redis whose client the app lends. */
export { redisArtifactStore, type RedisArtifactStoreOptions } from './artifact-store.ts'
export type { IoredisClient, NodeRedisClient, NodeRedisCluster, NodeRedisSentinel, RedisClient } from './client.ts'
export { redisStore, type RedisStoreOptions } from './outbox-store.ts'
