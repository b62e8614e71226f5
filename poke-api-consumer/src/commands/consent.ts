/** Asks before something is done that cannot be undone. */
import { type CommandInput, usageError } from '@poke-api-pipeline/service-kit'
import type { Terminal } from '../infrastructure/terminal/terminal.ts'

/** The exit code where the answer was no. */
export const DECLINED = 1

/**
 * @param question says what would be done
 * @returns whether to go on; `--yes` has said so before
 * @throws ServiceError (exit code 64) where nobody can be asked
 */
export async function isWanted(question: string, { yes }: CommandInput['options'], terminal: Terminal): Promise<boolean> {
  if (yes === true) return true
  const answer = await terminal.ask(question)
  if (answer === null) throw usageError(`${question}\nNobody can be asked here: give --yes to go on`)
  if (!answer) terminal.error('Nothing was changed.\n')
  return answer
}
