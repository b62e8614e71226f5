/** Where a command's words go, and whoever sits there to answer. */
import { createInterface } from 'node:readline/promises'
import { outputWritten } from '@poke-api-pipeline/service-kit'
import type { TerminalLook } from './type-colours.ts'

export interface Terminal {
  /** What the command was asked for: whole lines. */
  out(text: string): void
  /** What is said besides. */
  error(text: string): void
  /** Resolves when all of it is with whoever reads it: whoever has much to say waits for that now and then. */
  written(): Promise<void>
  /** What the standard output can show; without a terminal, lines of any length. */
  readonly look: TerminalLook
  /** Whether somebody watches the error output: then a line of it may be drawn over. */
  readonly watched: boolean
  /** Characters in a line of the error output. */
  readonly errorColumns: number
  /** @returns whether the answer is yes; null where nobody can be asked */
  ask(question: string): Promise<boolean | null>
}

/** The terminal of this process. Questions go to the error output, so that the standard output has results alone. */
export function processTerminal({ stdin, stdout, stderr, env }: NodeJS.Process = process): Terminal {
  return {
    out: (text) => void stdout.write(text),
    error: (text) => void stderr.write(text),
    written: outputWritten,
    look: { columns: stdout.isTTY ? stdout.columns : Number.POSITIVE_INFINITY, colours: stdout.isTTY && stdout.hasColors(256) },
    watched: stderr.isTTY === true && env.TERM !== 'dumb',
    errorColumns: stderr.columns ?? 80,
    async ask(question) {
      if (!stdin.isTTY || !stderr.isTTY) return null
      const lines = createInterface({ input: stdin, output: stderr })
      try {
        // The end of the input is an answer, too, though not to go on.
        const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')))
        return /^\s*y(es)?\s*$/i.test(await Promise.race([lines.question(`${question} [y/N] `), ended]))
      } finally {
        lines.close()
      }
    },
  }
}
