/** Routes of Target's CDN: the rule artifact, plain and obfuscated, and the visitor's location. */
import { createHash } from 'node:crypto'
import { isIP } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Faults } from './testing/faults.ts'

export interface ArtifactRouteOptions {
  /** The artifact to serve; the same object until it changes. */
  artifact: () => object
  /** If set, other clients' artifacts get a 404. */
  client: string | undefined
  /** Needed for `rules.bin`, as a part of its key. */
  organizationId: string | undefined
  faults: Faults
}

interface File { type: string, etag: string, content: Buffer }
interface Params { client: string, environment: string, file: string }

const ENVIRONMENTS = ['production', 'staging', 'development']

export function artifactRoutes (app: FastifyInstance, { artifact, client, organizationId, faults }: ArtifactRouteOptions): void {
  let made = artifact()
  let files = filesOf(made, organizationId)

  const serve = async (request: FastifyRequest, reply: FastifyReply) => {
    if (made !== artifact()) files = filesOf(made = artifact(), organizationId)
    const params = request.params as Params
    const file = files.get(params.file)
    if (file === undefined || !ENVIRONMENTS.includes(params.environment) || (client !== undefined && params.client !== client)) {
      reply.callNotFound()
      return reply
    }
    reply.headers({ ...whereabouts(request), etag: file.etag })
    const known = request.headers['if-none-match']?.split(',').map((tag) => tag.trim().replace(/^W\//, '')) ?? []
    if (known.includes(file.etag) || known.includes('*')) return reply.code(304).send()
    return reply.type(file.type).send(file.content)
  }
  app.get('/:client/:environment/v1/:file', faults.hooks('artifact'), serve)
  app.get('/:client/:environment/v1/:propertyToken/:file', faults.hooks('artifact'), serve)
  app.get('/v1/geo', faults.hooks('geo'), async (request) => whereabouts(request))
}

function filesOf (artifact: object, organizationId: string | undefined): Map<string, File> {
  const json = Buffer.from(JSON.stringify(artifact))
  const hash = createHash('sha256').update(json).digest('hex')
  const files = new Map<string, File>()
  files.set('rules.json', { type: 'application/json; charset=utf-8', etag: `"${hash}"`, content: json })
  if (organizationId !== undefined) {
    files.set('rules.bin', { type: 'application/octet-stream', etag: `"${hash}-bin"`, content: obfuscated(json, organizationId, hash.slice(0, 32)) })
  }
  return files
}

/** The same location for everyone; the IP address is the requested one, or the sender's. */
function whereabouts (request: FastifyRequest): Record<string, string> {
  const asked = String(request.headers['x-forwarded-for']).split(',', 1)[0] ?? ''
  return {
    'x-forwarded-for': isIP(asked) > 0 ? asked : request.ip,
    'x-geo-latitude': '59.91',
    'x-geo-longitude': '10.75',
    'x-geo-country-code': 'NO',
    'x-geo-region-code': '03',
    'x-geo-city': 'OSLO'
  }
}

/** `ATOD:001`, the 32 characters of the key, then the artifact XORed with organization id and key. */
function obfuscated (artifact: Buffer, organizationId: string, key: string): Buffer {
  const mask = Buffer.from(organizationId + key)
  return Buffer.concat([Buffer.from(`ATOD:001${key}`), artifact.map((byte, at) => byte ^ (mask[at % mask.length] as number))])
}
