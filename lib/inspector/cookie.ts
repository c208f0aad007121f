/** The inspector's own cookies: read by no script, and sent to no other site. */
import type { FastifyReply, FastifyRequest } from 'fastify'

/** A cookie of a request. */
export function cookieOf ({ headers: { cookie } }: FastifyRequest, name: string): string | undefined {
  if (cookie === undefined || !cookie.includes(`${name}=`)) return undefined
  for (const pair of cookie.split(';')) {
    const trimmed = pair.trimStart()
    if (trimmed.startsWith(`${name}=`)) return trimmed.slice(name.length + 1).trimEnd()
  }
}

/** @param lifetime ms; 0 deletes it */
export function setCookie (request: FastifyRequest, reply: FastifyReply, name: string, value: string, lifetime: number): void {
  reply.header('set-cookie', `${name}=${value}; Max-Age=${Math.round(lifetime / 1000)}; Path=/; HttpOnly; SameSite=Lax${request.protocol === 'https' ? '; Secure' : ''}`)
}
