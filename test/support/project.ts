/** A project beside the repository with this package installed in it, as others have it. */
import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

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

/** Builds the package into a new project, with all that is installed here beside it. */
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
    if (!name.startsWith('.') && name !== 'fastify-adobe-target') symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), 'dir')
  }
  cpSync(join(root, 'package.json'), join(installed, 'package.json'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  // What is wrong in the sources is for `npm run typecheck` to say.
  const built = await run([bin('typescript', 'bin/tsc'), '-p', join(root, 'lib/tsconfig.json'), '--outDir', join(installed, 'dist'), '--noCheck'])
  if (built.code !== 0) throw new Error(built.output)
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
