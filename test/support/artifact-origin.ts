/** The origin of a rule artifact whose answers a test sets, and that counts who asks. */
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sampleArtifact } from '../../lib/edge/sample-artifact.ts'

export interface ArtifactOrigin {
  /** For `artifactLocation`. */
  readonly location: string
  /** Statuses it answered with. */
  readonly answers: number[]
  /** What it serves: another version is another artifact. */
  version: string
  /** Whether it answers 503 to everybody. */
  down: boolean
}

export async function startOrigin (t: { teardown (fn: () => unknown): void }): Promise<ArtifactOrigin> {
  const answers: number[] = []
  const server = createServer((request, response) => {
    const body = JSON.stringify({ ...sampleArtifact, version: origin.version })
    const etag = `"${createHash('sha256').update(body).digest('hex')}"`
    const status = origin.down ? 503 : request.headers['if-none-match'] === etag ? 304 : 200
    answers.push(status)
    response.writeHead(status, { etag, 'content-type': 'application/json' }).end(status === 200 ? body : undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close(); server.closeAllConnections() })
  const origin: ArtifactOrigin = { location: `http://127.0.0.1:${(server.address() as AddressInfo).port}/rules.json`, answers, version: '1.0.1', down: false }
  return origin
}
