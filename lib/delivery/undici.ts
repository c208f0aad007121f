/**
 * undici, loaded with the first client and not with this package: it takes a quarter of the time that importing both takes, and an app
 * with its own `dispatcher` never needs it.
 */
let loaded: typeof import('undici') | undefined
let loading: Promise<void> | undefined

/** Loads it, once. */
export function loadUndici (): Promise<void> {
  loading ??= import('undici').then((module) => { loaded = module })
  return loading
}

/** undici, if it has been loaded. */
export const loadedUndici = (): typeof import('undici') | undefined => loaded
