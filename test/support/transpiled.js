/** Modules without their types: each version of a file is transpiled once and kept in `.build/transpiled`. */
import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const folder = fileURLToPath(new URL('../../.build/transpiled/', import.meta.url))
mkdirSync(folder, { recursive: true })
// ModuleKind.ESNext and ModuleResolutionKind.Bundler: a module alone does not say what its package is.
const compilerOptions = { target: 'es2023', module: 99, moduleResolution: 100, verbatimModuleSyntax: true, inlineSourceMap: true }
const seed = JSON.stringify([require('typescript/package.json').version, compilerOptions])

/** The JavaScript of a TypeScript file. */
export function transpiled (fileName) {
  const text = readFileSync(fileName, 'utf8')
  const kept = folder + createHash('sha1').update(seed).update(fileName).update(text).digest('hex')
  return read(kept) ?? transpile(text, fileName, kept)
}

function read (file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {}
}

function transpile (text, fileName, kept) {
  const { outputText, diagnostics } = require('typescript').transpileModule(text, { fileName, compilerOptions, reportDiagnostics: true })
  if (diagnostics.length > 0) throw new SyntaxError(`${fileName}: ${JSON.stringify(diagnostics[0].messageText)}`)
  // Another process may do the same: a rename is whole or not at all.
  const written = `${kept}.${randomUUID()}`
  writeFileSync(written, outputText)
  renameSync(written, kept)
  return outputText
}
