/** The part of `psl` that is used; its own types are out of reach of `nodenext`, since its `exports` do not name them. */
declare module 'psl' {
  /** A parsed host name, or why it is none. */
  type Parsed =
    | { error: { code: string } }
    | { error?: undefined, listed: boolean, tld: string | null, domain: string | null, subdomain: string | null }

  const psl: { parse (host: string): Parsed }
  export default psl
}
