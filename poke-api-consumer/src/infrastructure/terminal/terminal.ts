/** The input and output of a command. */
import { createInterface } from 'node:readline/promises'
import { outputWritten } from '@poke-api-pipeline/service-kit'
import type { TerminalLook } from './type-colours.ts'

export interface Terminal {
  /** Prints whole lines of the command's result. */
  out(text: string): void
  /** Prints messages beside the result. */
  error(text: string): void
  /** Resolves when the reader has taken all output. A command with much output waits for this now and then. */
  written(): Promise<void>
  /** Width and colours of the standard output; without a terminal, lines may have any length. */
  readonly look: TerminalLook
  /** Whether the error output is a terminal, where a line can be drawn again. */
  readonly watched: boolean
  /** Characters in a line of the error output. */
  readonly errorColumns: number
  /** @returns whether the answer is yes; null where there is no terminal to ask on */
  ask(question: string): Promise<boolean | null>
}

/** The terminal of this process. Questions go to the error output, so that the standard output has only results. */
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
        // The end of the input counts as the answer no.
        const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')))
        return /^\s*y(es)?\s*$/i.test(await Promise.race([lines.question(`${question} [y/N] `), ended]))
      } finally {
        lines.close()
      }
    },
  }
}
