/** A project beside the repository with this package installed in it, as others have it. */
import { execFile, spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** The repository. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/** The entry of a package's command. */
export const bin = (name: string, path: string) => join(root, 'node_modules', name, path)

/** What Node is to see: not what the runner of a test tells its own children. */
export const environment = (): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TAP|NODE_|_TAP|VITEST|npm_)/i.test(name))),
  NO_COLOR: '1',
  CI: '1'
})

export interface Project {
  folder: string
  /** Runs Node there, or in a folder of it. */
  run (command: string[], cwd?: string): Promise<{ code: number | null, output: string, stdout: string }>
  /** Writes a file into a folder of the project, and returns where it is. */
  write (folder: string, file: string, text: string): string
}

/**
 * Builds `lib` as it is now, once for all test files: a build is kept in `.build/packages` by the hash of its sources.
 *
 * @returns the folder that stands for `dist`
 */
export async function builtPackage (): Promise<string> {
  const hash = createHash('sha1')
  const sources = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).filter((file) => /\.(ts|json)$/.test(file)).sort().map((file) => join('lib', file))
  for (const file of ['build.js', 'package.json', 'tsconfig.json', 'node_modules/typescript/package.json', 'node_modules/esbuild/package.json', 'node_modules/@sinclair/typebox/package.json', ...sources]) hash.update(file).update(readFileSync(join(root, file)))
  const kept = join(root, '.build/packages', hash.digest('hex'))
  if (existsSync(kept)) return kept
  const folder = `${kept}-${randomUUID()}`
  // What is wrong in the sources is for `npm run typecheck` to say.
  await promisify(execFile)(process.execPath, [join(root, 'build.js'), folder, '--noCheck'], { env: environment() })
  try {
    renameSync(folder, kept)
  } catch (error) {
    // Another test file was first.
    rmSync(folder, { recursive: true, force: true })
    if (!existsSync(kept)) throw error
  }
  return kept
}

/** Puts the package into a new project, with all that is installed here beside it. */
export async function startProject (t: { teardown (fn: () => unknown): void }): Promise<Project> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-adobe-target-')))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const run: Project['run'] = (command, cwd = folder) => new Promise((resolve) => {
    const child = spawn(process.execPath, command, { cwd, env: environment() })
    let output = ''
    let stdout = ''
    child.stdout.on('data', (data) => { output += data; stdout += data })
    child.stderr.on('data', (data) => { output += data })
    child.on('close', (code) => resolve({ code, output, stdout }))
  })
  const installed = join(folder, 'node_modules', 'fastify-adobe-target')
  mkdirSync(installed, { recursive: true })
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (!name.startsWith('.') && name !== 'fastify-adobe-target') symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), 'junction')
  }
  cpSync(join(root, 'package.json'), join(installed, 'package.json'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  cpSync(await builtPackage(), join(installed, 'dist'), { recursive: true })
  return {
    folder,
    run,
    write (name, file, text) {
      const path = join(folder, name, file)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(join(folder, name, 'package.json'), '{ "type": "module" }')
      writeFileSync(path, text)
      return path
    }
  }
}
