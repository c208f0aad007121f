// Runs the tests on the other supported versions of Node.js, each fetched from the npm registry into .nodes/.
import { spawnSync } from 'node:child_process'
import { delimiter, join } from 'node:path'

const versions = process.argv.length > 2 ? process.argv.slice(2) : ['22', '24', '26']
const platform = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
let failed = false

for (const version of versions) {
  const folder = join('.nodes', version)
  const install = spawnSync('npm', ['install', '--prefix', folder, '--no-save', '--silent', `${platform}@${version}`], { stdio: 'inherit' })
  if (install.status !== 0) {
    console.error(`Node ${version}: not installed`)
    failed = true
    continue
  }
  const bin = join(process.cwd(), folder, 'node_modules', platform, 'bin')
  const env = { ...process.env, PATH: bin + delimiter + process.env.PATH }
  const run = spawnSync('node', ['-e', 'console.log("Node " + process.version)'], { env, stdio: 'inherit' })
  const tests = spawnSync('npm', ['test'], { env, stdio: 'inherit' })
  const ok = run.status === 0 && tests.status === 0
  console.log(`Node ${version}: ${ok ? 'passed' : 'FAILED'}`)
  failed ||= !ok
}

process.exitCode = failed ? 1 : 0
