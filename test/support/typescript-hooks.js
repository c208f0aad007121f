/**
 * Strips the types of a module.
 *
 * @see https://nodejs.org/docs/latest-v20.x/api/module.html#customization-hooks
 */
import { fileURLToPath } from 'node:url'
import { transpiled } from './transpiled.js'

export async function load (url, context, nextLoad) {
  if (!url.startsWith('file:') || !/\.ts(\?|$)/.test(url)) return await nextLoad(url, context)
  return { format: 'module', shortCircuit: true, source: transpiled(fileURLToPath(url)) }
}
