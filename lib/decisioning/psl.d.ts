/** The part of `psl` that is used; `nodenext` cannot find its own types, since its `exports` do not list them. */
declare module 'psl' {
  /** A parsed host name, or an error. */
  type Parsed =
    | { error: { code: string } }
    | { error?: undefined, listed: boolean, tld: string | null, domain: string | null, subdomain: string | null }

  const psl: { parse (host: string): Parsed }
  export default psl
}
