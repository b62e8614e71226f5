/** `dead-letters list | replay | purge`: shows the records that could not be counted, counts them if that is possible by now, deletes their bytes. */
import { type CommandInput, duration, EXIT, integer, type SettingKind, usageError } from '@poke-api-pipeline/service-kit'
import type { DeadLetterState } from '../application/ports.ts'
import { replay } from '../application/replay.ts'
import { type DeadLetterView, viewDeadLetter } from '../infrastructure/dead-letters/dead-letter-view.ts'
import { renderDeadLetters } from '../infrastructure/terminal/dead-letters-table.ts'
import type { Terminal } from '../infrastructure/terminal/terminal.ts'
import { DECLINED, isConfirmed } from './consent.ts'
import { commandConfig, storeName, withExistingStore } from './existing-store.ts'

/** Dead letters in memory at once: one may have a megabyte and more. */
const PAGE = 16
const DEFAULT_LIMIT = 50
const PURGEABLE = ['kept', 'published', 'counted', 'superseded'] as const satisfies readonly DeadLetterState[]
const EVERYTHING = { bytes: Number.POSITIVE_INFINITY, headers: Number.POSITIVE_INFINITY }
/** Later than any dead letter was stored. */
const END_OF_TIME = Number.MAX_SAFE_INTEGER

/** Prints the newest first: as a table, or with `--json` as one object a line, with all bytes. */
export async function listDeadLetters({ options, env }: CommandInput, terminal: Terminal): Promise<number> {
  const limit = parseOption('limit', options.limit, integer({ min: 1, max: 1_000_000 })) ?? DEFAULT_LIMIT
  await withExistingStore(commandConfig(env, terminal), terminal, async (store) => {
    // The widths of the columns depend on all rows, but a row needs only the beginning of its value.
    const rows: DeadLetterView[] = []
    let shown = 0
    for (let before: number | null = null; shown < limit; ) {
      const page = await store.deadLetters(before, Math.min(PAGE, limit - shown))
      if (page.length === 0) break
      shown += page.length
      before = page.at(-1)?.id ?? null
      if (options.json) for (const deadLetter of page) terminal.out(`${JSON.stringify(viewDeadLetter(deadLetter, EVERYTHING))}\n`)
      else rows.push(...page.map((deadLetter) => viewDeadLetter(deadLetter)))
      await terminal.written()
    }
    if (options.json) return
    const reasons = await store.deadLetterReasons()
    const all = sum(reasons)
    terminal.out(`${renderDeadLetters(rows, terminal.look)}\n`)
    if (all > 0) terminal.out(`\n${shown < all ? `The newest ${formatted(shown)} of ` : ''}${numberOf(all)}: ${amounts(reasons)}.\n`)
  })
  return EXIT.ok
}

/** Counts the dead letters that can be counted by now, and prints how many and why others cannot. */
export async function replayDeadLetters({ options, env }: CommandInput, terminal: Terminal): Promise<number> {
  const report = await withExistingStore(commandConfig(env, terminal), terminal, (store) => replay(store, () => {}))
  const { counted, left, cut, gone } = report
  const stay = sum(left)
  if (options.json) terminal.out(`${JSON.stringify({ counted, left: Object.fromEntries(left), cut, gone })}\n`)
  else {
    terminal.out(`Counted ${numberOf(counted)}.\n`)
    if (stay > 0) terminal.out(`${numberOf(stay)} still cannot be counted: ${amounts(left)}.\n`)
    if (cut > 0)
      terminal.out(
        `Of these, the store has only the beginning of ${formatted(cut)}: "reset" can count ${cut === 1 ? 'it' : 'them'} from the topic.\n`,
      )
    if (gone > 0) terminal.out(`${numberOf(gone)} ${gone === 1 ? 'was' : 'were'} counted or purged by another process meanwhile.\n`)
  }
  return EXIT.ok
}

/** Deletes the bytes of dead letters in the given states, older than the given age. Asks first. */
export async function purgeDeadLetters(input: CommandInput, terminal: Terminal): Promise<number> {
  const { options, env } = input
  const states = parseStates(options.state)
  const age = parseOption('older-than', options['older-than'], duration({ min: '0s', max: '36500d' }))
  const config = commandConfig(env, terminal)
  const purged = await withExistingStore(config, terminal, async (store) => {
    const which = `${states.join(', ')}${age === null ? '' : `, older than ${options['older-than']}`}`
    const question = `This deletes the bytes of the dead letters of group ${config.KAFKA_GROUP_ID} in ${storeName(config)} (${which}). They cannot be shown or replayed afterwards. Go on?`
    if (!(await isConfirmed(question, options, terminal))) return null
    return await store.purge(states, age === null ? END_OF_TIME : Date.now() - age)
  })
  if (purged === null) return DECLINED
  terminal.out(options.json ? `${JSON.stringify({ purged })}\n` : `Purged ${numberOf(purged)}.\n`)
  return EXIT.ok
}

function parseStates(given: string | boolean | undefined): DeadLetterState[] {
  const states = String(given ?? '')
    .split(',')
    .map((state) => state.trim())
  const isState = (state: string): state is (typeof PURGEABLE)[number] => (PURGEABLE as readonly string[]).includes(state)
  if (states.every(isState)) return states
  throw usageError(
    `purge needs --state${given === undefined ? '' : `, and "${given}" is not a state`}; accepted: ${PURGEABLE.join(', ')}; separate several with commas`,
  )
}

/** @throws ServiceError (exit code 64) */
function parseOption<T>(name: string, given: string | boolean | undefined, kind: SettingKind<T>): T | null {
  if (given === undefined) return null
  const parsed = kind.parse(String(given))
  if (parsed.ok) return parsed.value
  throw usageError(`--${name} is "${given}"; accepted: ${kind.accepts}`)
}

function numberOf(count: number): string {
  return `${formatted(count)} dead ${count === 1 ? 'letter' : 'letters'}`
}

function amounts(reasons: ReadonlyMap<string, number>): string {
  return [...reasons].map(([reason, count]) => `${formatted(count)} ${reason}`).join(', ')
}

function sum(reasons: ReadonlyMap<string, number>): number {
  return [...reasons.values()].reduce((total, count) => total + count, 0)
}

function formatted(count: number): string {
  return count.toLocaleString('en')
}
