/**
 * Builds the package: a module for each entry of package.json and for what several of them share, since Node takes about a
 * millisecond for each module that it loads; the types are compiled file by file. TypeBox, which has 266 modules, is put in, with its
 * licence. `node build.js [<folder> [<options of tsc>]]`
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const BUNDLED = '@sinclair/typebox'

const [folder = 'dist', ...options] = process.argv.slice(2)
const root = fileURLToPath(new URL('.', import.meta.url))
const { exports, bin } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
const files = [...Object.values(exports).map((entry) => entry.default), ...Object.values(bin)].filter((file) => file !== undefined)

rmSync(folder, { recursive: true, force: true })
execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', `${root}lib/tsconfig.json`, '--outDir', folder, ...options], { stdio: 'inherit' })
await build({
  absWorkingDir: root,
  entryPoints: files.map((file) => file.replace(/^\.\/dist\/(.*)\.js$/, 'lib/$1.ts')),
  outbase: 'lib',
  outdir: folder,
  chunkNames: 'shared/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  plugins: [{
    name: 'packages stay outside',
    setup ({ onResolve }) {
      onResolve({ filter: /^[^./]/ }, ({ path, kind }) => {
        // What lib/offers/app-typebox.ts imports dynamically is the app's own.
        const isInside = kind === 'entry-point' || (path.startsWith(BUNDLED) && kind !== 'dynamic-import')
        return isInside ? undefined : { path, external: true }
      })
    }
  }]
})
copyFileSync(`${root}node_modules/${BUNDLED}/license`, `${folder}/shared/typebox.license`)
