/** What every child process of the benchmark does: announce itself, answer the parent's questions, go when the parent goes. */

/**
 * @param {Record<string, (argument: any) => unknown>} answers by the question's name
 * @param {unknown} [hello] told to the parent with the announcement
 */
export function answerParent (answers, hello) {
  process.on('message', async ({ id, question, argument }) => {
    let reply
    try {
      reply = { id, result: await answers[question](argument) }
    } catch (error) {
      reply = { id, error: error.stack ?? String(error) }
    }
    if (process.connected) process.send(reply)
  })
  // The parent hangs up when all is done, and the kernel does so when it dies. An exit writes the profile, a signal does not.
  process.on('disconnect', () => process.exit())
  process.send({ hello })
}
