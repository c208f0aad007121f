/** Processes beside this one, and what is said between them. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** Starts another file of this folder, or by its relative name, as a process, the same way as this one was started. */
export function startChild (name: string, ...parameters: string[]): ChildProcess {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return fork(new URL(`${name}.${extension}`, import.meta.url), parameters)
}

/** Says something to a process and waits for what it answers. */
export async function ask (child: ChildProcess, question: object | string): Promise<any> {
  const answer = nextWord(child)
  child.send(question)
  return await answer
}

/** What a process says next; rejects when it ends before. */
export async function nextWord (child: ChildProcess): Promise<any> {
  const said = new AbortController()
  const ended = once(child, 'exit', said).then(([code]) => { throw new Error(`a process ended with ${code}`) })
  try {
    const [word] = await Promise.race([once(child, 'message', said), ended])
    return word
  } finally {
    ended.catch(() => {})
    said.abort()
  }
}

/** Answers what the process that started this one asks; ends with it. */
export function answerParent (answer: (question: any) => unknown): void {
  process.on('message', async (question) => { process.send!(await answer(question) ?? {}) })
  process.on('disconnect', () => process.exit())
}

/** Ends a process, also one that is stopped. */
export async function endChild (child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}
