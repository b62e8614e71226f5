/** Asks for confirmation before a change that cannot be undone. */
import { type CommandInput, usageError } from '@poke-api-pipeline/service-kit'
import type { Terminal } from '../infrastructure/terminal/terminal.ts'

/** The exit code after the answer no. */
export const DECLINED = 1

/**
 * @param question says what will be changed
 * @returns whether to go on; with `--yes` nobody is asked
 * @throws ServiceError (exit code 64) where there is no terminal to ask on
 */
export async function isConfirmed(question: string, { yes }: CommandInput['options'], terminal: Terminal): Promise<boolean> {
  if (yes === true) return true
  const answer = await terminal.ask(question)
  if (answer === null) throw usageError(`${question}\nThere is no terminal to ask on: add --yes to go on`)
  if (!answer) terminal.error('Nothing was changed.\n')
  return answer
}
