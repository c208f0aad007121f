/**
 * Holds the tests of a suite until all its files are loaded.
 *
 * tap ends by itself once it is idle and something is to be torn down at the end. It is idle while a file of the suite awaits
 * its set-up, and then it ended, all tests passed, without the tests of that file.
 */
import t from 'tap'

let resolve: () => void

t.waitOn(new Promise<void>((_resolve) => { resolve = _resolve }))

/** To be called when all files of the suite are loaded. */
export const loaded = () => resolve()
