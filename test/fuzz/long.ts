/**
 * The long run: `npm run test:fuzz`, 100,000 inputs and more, another seed each time. `FUZZ_SEED` repeats one,
 * `FUZZ_INPUTS` sets their number.
 */
import { checkAll, properties } from './properties.ts'
import { withWire } from './wire.ts'

const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31)
const inputs = Number(process.env['FUZZ_INPUTS'] ?? 120_000)
console.log(`seed ${seed}; FUZZ_SEED=${seed} repeats this run`)
const started = performance.now()
const total = await withWire((wire) => checkAll([...properties, ...wire], inputs, seed, console.log))
console.log(`${total} inputs, no finding, ${((performance.now() - started) / 1000).toFixed(0)} s`)
