/**
 * The size of the fault tests, and their random moments: small in `make test`, in full with `FAULTS=long` (`make test-faults`). The same `SEED`
 * repeats a run.
 */
import { createHash } from 'node:crypto'

/** Whether the tests run in full. */
export const LONG = process.env.FAULTS === 'long'
/** Decides every random moment of a run; the titles of the tests name it. */
export const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))

/** Uniform numbers in [0, 1), the same for the same seed and name. */
export function seeded(name: string, seed = SEED): () => number {
  let drawn = 0
  return () => createHash('sha256').update(`${seed} ${name} ${drawn++}`).digest().readUInt32BE() / 2 ** 32
}

/**
 * The longest wait for what is promised within so many ms. In `make test` other tests use the machine too, and it may be slow: everything may take
 * five times as long.
 */
export function patience(ms: number): number {
  return LONG ? ms : 5 * ms
}

/** Prints one line for the report of a run: `figure('consumer kills', '50 in a backlog, SQLite, 400,000 events exact')`. */
export function figure(fault: string, seen: string): void {
  console.log(`figure: ${fault}: ${seen} (SEED=${SEED})`)
}
