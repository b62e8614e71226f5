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

/** In bytes: dead letters have all of theirs. */
const LONGEST_OUTPUT = 256 * 1024 * 1024

const CLI = fileURLToPath(new URL('../poke-api-consumer/src/cli.ts', import.meta.url))

/** Runs `poke-api-consumer` with these words to its end, where no `.env` is; nobody is there to be asked. */
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
