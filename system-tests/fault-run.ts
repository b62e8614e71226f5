/**
 * How large a fault test is, and what decides its moments: small in `make test`, in full where `FAULTS=long` (`make test-faults`), and the
 * same again with the same `SEED`.
 */
import { createHash } from 'node:crypto'

/** Whether everything is run in its full size. */
export const LONG = process.env.FAULTS === 'long'
/** Decides every random moment of a run; its tests name it. */
export const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))

/** Uniform numbers in [0, 1) that a seed and a name repeat. */
export function seeded(name: string, seed = SEED): () => number {
  let drawn = 0
  return () => createHash('sha256').update(`${seed} ${name} ${drawn++}`).digest().readUInt32BE() / 2 ** 32
}

/** One line of what a run has seen, for its report: `figure('consumer kills', '50 in a backlog, SQLite, 400,000 events exact')`. */
export function figure(fault: string, seen: string): void {
  console.log(`figure: ${fault}: ${seen} (SEED=${SEED})`)
}
