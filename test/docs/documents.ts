/**
 * What README and docs show: their blocks of code, compiled as in a reader's project.
 *
 * A block is a file where its first line says so, as in `// app.js` or `<!-- views/home.eta -->`; with `, in the page` it
 * is a browser's. Any other block of js or ts is what goes into the `buildApp()` of docs/start.md, and may take its names for
 * granted: `Fastify`, `fastifyAdobeTarget`, `account`, and `app`, with the plugin unless it registers that itself.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { root, type Project } from '../support/project.ts'

export const documents = ['README.md', ...readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)]
export const readDocument = (name: string) => readFileSync(join(root, name), 'utf8')

export interface Block {
  /** The document, and the line where the block begins. */
  place: string
  /** The heading above it. */
  heading: string
  language: string
  code: string
  /** The file that it is. */
  file: string | undefined
  inPage: boolean
}

const FIRST_LINE = /^(?:\/\/|<!--|#) (\S+\.\w+)(, in the page)?(?: -->)?\n/

export function blocksOf (document: string): Block[] {
  const text = readDocument(document)
  const blocks: Block[] = []
  let heading = ''
  for (const { 1: title, 2: language, 3: code, index } of text.matchAll(/^##+ (.+)$|^```(\w+)\n([\s\S]*?)^```$/gm)) {
    if (title !== undefined) {
      heading = title
      continue
    }
    const [, file, inPage] = FIRST_LINE.exec(code!) ?? []
    blocks.push({ place: `${document}:${text.slice(0, index).split('\n').length}`, heading, language: language!, code: code!, file, inPage: inPage !== undefined })
  }
  return blocks
}

/** A block with the names that it takes for granted; `options` are added to the account. */
export function complete ({ code, file }: Block, options: object = {}): string {
  if (file !== undefined) return code
  const declares = (name: string) => new RegExp(`^(import|const) ${name}\\b`, 'm').test(code)
  const registers = code.includes('.register(fastifyAdobeTarget')
  return [
    !declares('Fastify') && 'import Fastify from \'fastify\'',
    !declares('fastifyAdobeTarget') && 'import fastifyAdobeTarget from \'fastify-adobe-target\'',
    `const account = { client: 'acmeclient', organizationId: '1234567890@AdobeOrg', ...${JSON.stringify(options)} }`,
    !declares('app') && 'const app = Fastify()',
    !declares('app') && !registers && 'await app.register(fastifyAdobeTarget, account)',
    code,
    'export { app }\n'
  ].filter((line) => line !== false).join('\n')
}

const settings: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ['node'],
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  allowJs: true,
  checkJs: true
}

/** What the compiler says of a language service's file, one line each. */
export const problemsOf = (service: ts.LanguageService, file: string) => [...service.getSyntacticDiagnostics(file), ...service.getSemanticDiagnostics(file)]
  .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))

const registry = ts.createDocumentRegistry()

/** A compiler, and what an editor asks of it, for files of a project. */
export function serviceFor ({ folder }: Pick<Project, 'folder'>, files: string[], options: ts.CompilerOptions = {}): ts.LanguageService {
  return ts.createLanguageService({
    getCompilationSettings: () => ({ ...settings, ...options }),
    getScriptFileNames: () => files,
    getScriptVersion: () => '1',
    getScriptSnapshot: (file) => {
      const text = ts.sys.readFile(file)
      return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text)
    },
    getCurrentDirectory: () => folder,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: ts.sys.fileExists,
    readFile: ts.sys.readFile,
    readDirectory: ts.sys.readDirectory,
    directoryExists: ts.sys.directoryExists,
    getDirectories: ts.sys.getDirectories,
    ...(ts.sys.realpath && { realpath: ts.sys.realpath })
  }, registry)
}

/**
 * Compiles blocks, each strictly; JavaScript may leave the types of parameters out, as it has to.
 *
 * @returns what is wrong, by place
 */
export function compile (project: Project, blocks: Block[]): Map<string, string[]> {
  const groups = new Map<string, Array<{ block: Block, path: string }>>()
  for (const [number, block] of blocks.entries()) {
    // What a block declares for all modules is not for the others.
    const alone = /^declare module/m.test(block.code) ? number : ''
    const key = block.inPage ? 'page' : `${block.language}${alone}`
    const path = block.file === undefined
      ? project.write(`blocks/${number}`, `block.${block.language}`, complete(block))
      : project.write(`files/${block.place.split(':')[0]!.replaceAll('/', '-')}`, block.file, block.code)
    groups.set(key, [...groups.get(key) ?? [], { block, path }])
  }
  const problems = new Map<string, string[]>()
  for (const [key, group] of groups) {
    const service = serviceFor(project, group.map(({ path }) => path), {
      ...(!key.startsWith('ts') && { noImplicitAny: false }),
      ...(key === 'page' && { lib: ['lib.es2023.d.ts', 'lib.dom.d.ts'], types: [] })
    })
    for (const { block, path } of group) problems.set(block.place, problemsOf(service, path))
    service.dispose()
  }
  return problems
}

/** What does not parse of a block of JavaScript, which is not compiled. */
export function parseProblems ({ code, language }: Block): string[] {
  const { diagnostics } = ts.transpileModule(code, { reportDiagnostics: true, fileName: `block.${language}`, compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext, allowJs: true } })
  return (diagnostics ?? []).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))
}

/** The anchors of a document's headings, as GitHub makes them. */
export function anchorsOf (document: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, title] of readDocument(document).replaceAll(/^```[\s\S]*?^```$/gm, '').matchAll(/^#+ (.+)$/gm)) {
    const slug = title!.toLowerCase().replaceAll(/[^\p{L}\p{N}_\- ]/gu, '').replaceAll(' ', '-')
    let anchor = slug
    for (let copy = 1; anchors.has(anchor); copy++) anchor = `${slug}-${copy}`
    anchors.add(anchor)
  }
  return anchors
}
