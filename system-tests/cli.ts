/** The consumer's commands as processes of their own. */
import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { PROCESS_ENV } from './process-env.ts'

export interface Finished {
  readonly exitCode: number
  readonly out: string
  readonly error: string
}

/** Longest output, in bytes: dead letters are printed with all their bytes. */
const LONGEST_OUTPUT = 256 * 1024 * 1024

const CLI = fileURLToPath(new URL('../poke-api-consumer/src/cli.ts', import.meta.url))

/** Runs `poke-api-consumer` with these arguments to its end, in a folder without `.env` and without a terminal that could answer questions. */
export function consumerCommand(env: Readonly<Record<string, string>>, ...words: string[]): Promise<Finished> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [CLI, ...words],
      { env: { ...PROCESS_ENV, ...env }, cwd: tmpdir(), maxBuffer: LONGEST_OUTPUT },
      (error, out, errors) => {
        if (error !== null && typeof error.code !== 'number') reject(error)
        else resolve({ exitCode: Number(error?.code ?? 0), out, error: errors })
      },
    )
  })
}
