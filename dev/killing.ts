/** Kills services again and again with SIGKILL, and tells it: for people who want to see that it makes no difference. */
import { setTimeout as pause } from 'node:timers/promises'
import { readCounts } from './readings.ts'
import { sum } from './sweep-check.ts'

/** What can be killed. */
export interface Victim {
  readonly name: string
  /** Null while it does not run. */
  readonly pid: number | null
  /** Null while it does not listen. */
  readonly url: string | null
}

export interface KillingOptions {
  /** Killed in turns. */
  readonly victims: readonly Victim[]
  /** How often each. */
  readonly kills: number
  /** `type-counts.json`: it must have risen before each kill, so that each one hits in the middle of the work. */
  readonly outputFile: string
  readonly say: (line: string) => void
  readonly kill: (pid: number) => void
}

/** Between two looks, in ms. */
const LOOK_EVERY = 50

/**
 * @param signal ends it before its time
 * @returns how often each was killed, by name
 */
export async function killAgainAndAgain(options: KillingOptions, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const { victims, kills, outputFile, say, kill } = options
  const killed = new Map(victims.map(({ name }) => [name, 0]))
  let before = 0
  for (let round = 1; round <= kills; round++) {
    for (const victim of victims) {
      const types = await risen(victims, outputFile, before, signal)
      if (types === null || victim.pid === null) return killed
      kill(victim.pid)
      killed.set(victim.name, round)
      before = types
      say(`SIGKILL   to the ${victim.name}, ${round} of ${kills}, when ${types.toLocaleString('en')} types were counted`)
    }
  }
  return killed
}

/** Waits until all run and more is counted. @returns how many types are; null where it was ended */
async function risen(victims: readonly Victim[], outputFile: string, before: number, signal: AbortSignal): Promise<number | null> {
  while (!signal.aborted) {
    const types = sum((await readCounts(outputFile)) ?? new Map())
    if (types > before && victims.every(({ pid, url }) => pid !== null && url !== null)) return types
    await pause(LOOK_EVERY)
  }
  return null
}
