/** Kills services repeatedly with SIGKILL, for people who want to see that the counts stay exact. */
import { setTimeout as pause } from 'node:timers/promises'
import { readCounts } from './readings.ts'
import { sum } from './sweep-check.ts'

/** A service to kill. */
export interface Victim {
  readonly name: string
  /** Null while it does not run. */
  readonly pid: number | null
  /** Null while it does not listen. */
  readonly url: string | null
}

export interface KillingOptions {
  /** They are killed in turn. */
  readonly victims: readonly Victim[]
  /** How often each is killed. */
  readonly kills: number
  /** `type-counts.json`. A kill waits until its counts have risen since the last one, so that each kill interrupts work. */
  readonly outputFile: string
  readonly say: (line: string) => void
  readonly kill: (pid: number) => void
}

/** In ms. */
const POLL_INTERVAL = 50

/**
 * @param signal cancels it
 * @returns how often each was killed, by name
 */
export async function killAgainAndAgain(options: KillingOptions, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const { victims, kills, outputFile, say, kill } = options
  const killed = new Map(victims.map(({ name }) => [name, 0]))
  let before = 0
  for (let round = 1; round <= kills; round++) {
    for (const victim of victims) {
      const types = await moreTypes(victims, outputFile, before, signal)
      if (types === null || victim.pid === null) return killed
      kill(victim.pid)
      killed.set(victim.name, round)
      before = types
      say(`SIGKILL   to the ${victim.name}, ${round} of ${kills}, when ${types.toLocaleString('en')} types were counted`)
    }
  }
  return killed
}

/** Waits until all services run and more types are counted. @returns how many are counted; null where it was cancelled */
async function moreTypes(victims: readonly Victim[], outputFile: string, before: number, signal: AbortSignal): Promise<number | null> {
  while (!signal.aborted) {
    const types = sum((await readCounts(outputFile)) ?? new Map())
    if (types > before && victims.every(({ pid, url }) => pid !== null && url !== null)) return types
    await pause(POLL_INTERVAL)
  }
  return null
}
