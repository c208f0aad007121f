/**
 * Strips the types for tap, once a file instead of once a file and process: tap's own compiler takes three seconds of CPU
 * for the modules of `lib` in each test file. What it wrote is kept in `.build/transpiled`, by the hash of the source.
 *
 * @see https://typestrong.org/ts-node/docs/transpilers
 */
const { createHash, randomUUID } = require('node:crypto')
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { version } = require('typescript/package.json')

const folder = join(__dirname, '../../.build/transpiled')
// ModuleKind.ESNext and ModuleResolutionKind.Bundler: a module alone does not say what its package is. Loading TypeScript for them would take longer than the rest.
const ES_NEXT = 99
const BUNDLER = 100
let ts

exports.create = ({ service }) => {
  mkdirSync(folder, { recursive: true })
  const compilerOptions = { ...service.config.options, noEmit: false, sourceMap: true, inlineSourceMap: false, module: ES_NEXT, moduleResolution: BUNDLER, rewriteRelativeImportExtensions: false }
  const seed = JSON.stringify([version, compilerOptions])
  return {
    transpile (source, { fileName }) {
      const kept = join(folder, createHash('sha1').update(seed).update(fileName).update(source).digest('hex'))
      try {
        return JSON.parse(readFileSync(kept, 'utf8'))
      } catch {}
      ts ??= require('typescript')
      const { outputText, sourceMapText, diagnostics } = ts.transpileModule(source, { fileName, compilerOptions, reportDiagnostics: true })
      if (diagnostics.length > 0) return { outputText, sourceMapText, diagnostics }
      // Another process may do the same: a rename is whole or not at all.
      const written = `${kept}.${randomUUID()}`
      writeFileSync(written, JSON.stringify({ outputText, sourceMapText }))
      renameSync(written, kept)
      return { outputText, sourceMapText }
    }
  }
}
