/**
 * Lets test processes load TypeScript: `--import` this file. tap's own way compiles every module again in every process, which
 * takes three seconds of CPU per test file, and loads the compiler twice to do so.
 */
import { register } from 'node:module'

register('./typescript-hooks.js', import.meta.url)
