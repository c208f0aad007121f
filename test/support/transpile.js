/** Transpiles everything that tests load, in one process: otherwise each of theirs would first load the compiler for its own file. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { transpiled } from './transpiled.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

for (const folder of ['lib', 'test']) {
  for (const name of readdirSync(join(root, folder), { recursive: true })) {
    if (/(?<!\.d)\.ts$/.test(name)) transpiled(join(root, folder, name))
  }
}
