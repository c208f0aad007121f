/** `types`: generates TypeScript and TypeBox from the artifact's offers. */
import { readFile, writeFile } from 'node:fs/promises'
import { counted } from '../diagnostics.ts'
import { compileArtifact, type CompiledArtifact } from '../decisioning/compile.ts'
import { artifactOptions, messageOf, readArtifact } from './artifact-input.ts'
import { type Command, CommandError, PROGRAM, textOf, UsageError, type Values } from './command.ts'
import type { Terminal } from './terminal.ts'

export const typesCommand: Command = {
  summary: 'Writes types of the artifact\'s mboxes: TargetMboxes, and TypeBox schemas of json offers.',
  options: {
    ...artifactOptions,
    out: { type: 'string', value: 'FILE', description: 'File to write. Default: stdout' },
    check: { type: 'boolean', description: 'Writes nothing; exit code 1 when --out is not up to date, for CI' }
  },
  examples: ['--client acmeclient --out src/target-mboxes.ts', '--artifact rules.json --out src/target-mboxes.ts --check'],
  run: runTypes
}

/** A type that was inferred from values. */
type Shape =
  | { kind: 'unknown' | 'string' | 'number' | 'boolean' | 'null' }
  | { kind: 'list', items: Shape | undefined }
  | { kind: 'object', members: Map<string, { shape: Shape, isOptional: boolean }> }
  | { kind: 'union', forms: Shape[] }

async function runTypes (values: Values, terminal: Terminal): Promise<number> {
  const out = textOf(values, 'out')
  if (values.check === true && out === undefined) throw new UsageError('`--check` needs --out with the file to compare')
  const input = await readArtifact(values)
  let artifact: CompiledArtifact
  try {
    artifact = await compileArtifact(input.payload)
  } catch (error) {
    throw new CommandError(`${input.location} is not a rule artifact: ${messageOf(error)}`)
  }
  const text = sourceOf(artifact)
  if (out === undefined) {
    terminal.line(text.trimEnd())
    return 0
  }
  if (values.check === true) {
    const current = await readFile(out, 'utf8').catch(() => undefined)
    if (current === text) return 0
    terminal.note(`${out} ${current === undefined ? 'is missing' : 'is not up to date'}; run the command again without --check`)
    return 1
  }
  try {
    await writeFile(out, text)
  } catch (error) {
    throw new CommandError(`cannot write ${out}: ${messageOf(error)}`)
  }
  terminal.line(`Wrote ${counted(artifact.mboxes.size, 'mbox', 'mboxes')} to ${out}`)
  return 0
}

/** The generated file: the same for the same offers, whatever their order in the artifact. */
function sourceOf (artifact: CompiledArtifact): string {
  const schemas: string[] = []
  const members: string[] = []
  const taken = new Set<string>()
  for (const name of [...artifact.mboxes.keys()].sort()) {
    if (name === artifact.globalMbox) continue
    const contents = artifact.mboxes.get(name)!.flatMap(({ source }) => source.consequence.options ?? [])
    const json = contents.filter(({ type }) => type === 'json')
    if (json.length === 0) {
      if (contents.length > 0 && contents.every(({ content }) => typeof content === 'string')) members.push(`    ${keyOf(name)}: string`)
      continue
    }
    const schema = identifierFor(name, taken)
    const shape = json.map(({ content }) => shapeOf(content, 0)).reduce(merge)
    schemas.push(`/** Json offers of the mbox \`${name.replace(/[\r\n*]/g, ' ')}\`. */\nexport const ${schema} = ${typeBox(shape, '')}`)
    const others = json.length < contents.length ? ' | string' : ''
    members.push(`    ${keyOf(name)}: Static<typeof ${schema}>${others}`)
  }
  const imports = schemas.length > 0 ? "import { Type, type Static } from '@sinclair/typebox'\n\n" : ''
  return `// Made by \`${PROGRAM} types\` from a rule artifact. Changes here are lost.
${imports}${schemas.map((schema) => `${schema}\n\n`).join('')}declare module 'fastify-adobe-target' {
  interface TargetMboxes {
${members.join('\n')}
  }
}
${imports === '' ? '\nexport {}\n' : ''}`
}

const keyOf = (name: string): string => /^[A-Za-z_$][\w$]*$/.test(name) ? name : `'${name.replace(/[\\']/g, '\\$&').replace(/[\r\n\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)}'`

/** `checkout-flags` → `CheckoutFlags`, made unique. */
function identifierFor (name: string, taken: Set<string>): string {
  const words = name.split(/[^A-Za-z0-9]+/).filter(Boolean).map((word) => word[0]!.toUpperCase() + word.slice(1)).join('')
  const base = /^[A-Za-z]/.test(words) && words !== 'Type' && words !== 'Static' ? words : `Mbox${words}`
  let identifier = base
  for (let i = 2; taken.has(identifier); i++) identifier = `${base}${i}`
  taken.add(identifier)
  return identifier
}

/** Deeper parts of offers are typed as unknown. */
const MAX_DEPTH = 16

function shapeOf (value: unknown, depth: number): Shape {
  if (depth > MAX_DEPTH) return { kind: 'unknown' }
  if (value === null) return { kind: 'null' }
  if (Array.isArray(value)) {
    const items = value.map((item) => shapeOf(item, depth + 1))
    return { kind: 'list', items: items.length === 0 ? undefined : items.reduce(merge) }
  }
  switch (typeof value) {
    case 'string': return { kind: 'string' }
    case 'number': return { kind: 'number' }
    case 'boolean': return { kind: 'boolean' }
    case 'object': return { kind: 'object', members: new Map(Object.entries(value).map(([name, member]) => [name, { shape: shapeOf(member, depth + 1), isOptional: false }])) }
    default: return { kind: 'unknown' }
  }
}

/** The type of values that may have either type. */
function merge (one: Shape, other: Shape): Shape {
  if (one.kind === 'unknown' || other.kind === 'unknown') return { kind: 'unknown' }
  if (one.kind === 'union' || other.kind === 'union') {
    const forms = [one, other].flatMap((shape) => shape.kind === 'union' ? shape.forms : [shape])
    return forms.reduce((union: Shape, form) => addForm(union, form))
  }
  if (one.kind === 'list' && other.kind === 'list') {
    return { kind: 'list', items: one.items === undefined ? other.items : other.items === undefined ? one.items : merge(one.items, other.items) }
  }
  if (one.kind === 'object' && other.kind === 'object') return mergeObjects(one.members, other.members)
  return one.kind === other.kind ? one : { kind: 'union', forms: [one, other] }
}

function addForm (union: Shape, form: Shape): Shape {
  const forms = union.kind === 'union' ? union.forms : [union]
  const same = forms.findIndex(({ kind }) => kind === form.kind)
  const joined = same === -1 ? [...forms, form] : forms.map((known, index) => index === same ? merge(known, form) : known)
  return joined.length === 1 ? joined[0]! : { kind: 'union', forms: joined }
}

function mergeObjects (one: Extract<Shape, { kind: 'object' }>['members'], other: typeof one): Shape {
  const members = new Map(one)
  for (const [name, { shape, isOptional }] of other) {
    const known = members.get(name)
    members.set(name, known === undefined ? { shape, isOptional: true } : { shape: merge(known.shape, shape), isOptional: known.isOptional || isOptional })
  }
  for (const [name, member] of one) if (!other.has(name)) members.set(name, { ...member, isOptional: true })
  return { kind: 'object', members }
}

function typeBox (shape: Shape, indent: string): string {
  switch (shape.kind) {
    case 'string': return 'Type.String()'
    case 'number': return 'Type.Number()'
    case 'boolean': return 'Type.Boolean()'
    case 'null': return 'Type.Null()'
    case 'unknown': return 'Type.Unknown()'
    case 'list': return `Type.Array(${shape.items === undefined ? 'Type.Unknown()' : typeBox(shape.items, indent)})`
    case 'union': return `Type.Union([${shape.forms.map((form) => typeBox(form, indent)).sort().join(', ')}])`
    case 'object': {
      const members = [...shape.members].sort(([a], [b]) => a < b ? -1 : 1).map(([name, { shape: member, isOptional }]) => {
        const type = typeBox(member, `${indent}  `)
        return `${indent}  ${keyOf(name)}: ${isOptional ? `Type.Optional(${type})` : type}`
      })
      return members.length === 0 ? 'Type.Object({})' : `Type.Object({\n${members.join(',\n')}\n${indent}})`
    }
  }
}
