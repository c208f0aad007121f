/**
 * Which client of a server owns the cookies `mbox` and `mboxEdgeCluster`: a browser sends one of each name, so two accounts in
 * one app would overwrite each other's visitor. The first client registered owns them, since at.js on the page reads them; every
 * other client code gets separate cookies.
 */
const owners = new WeakMap<object, string>()

/**
 * The suffix of a client's cookies; undefined for the client that owns Target's own names.
 *
 * @param server which the app listens with, the same for all its plugins
 */
export function cookieSuffixOf (server: object, client: string): string | undefined {
  const owner = owners.get(server)
  if (owner === undefined) owners.set(server, client)
  return owner === undefined || owner === client ? undefined : client
}
