/** Checks that the group uses the store of this instance, before reading and every few seconds while reading (rule S5). */

import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import type { Cluster } from '../brokers/cluster.ts'
import { KafkaError } from '../errors.ts'
import { anotherStore, type StoreIdentity, storeOfGroup } from './store-claim.ts'

export interface StoreOfGroupOptions {
  readonly cluster: Pick<Cluster, 'committedOffsets'>
  readonly groupId: string
  readonly store: StoreIdentity
  readonly partitions: () => number
  readonly failures: FailureTracker
  /** Called each time the group is found to use this store. */
  readonly onConfirmed: () => void
  readonly clock: Clock
}

/** Between two checks while reading, in ms. */
const POLL_INTERVAL = 3000
/** A coordinator that has just started cannot answer for a moment: failures are reported only after so many ms. */
const QUIET_PERIOD = 3000
const PART = 'the store of the group'

export class StoreOfGroup {
  readonly #options: StoreOfGroupOptions

  constructor(options: StoreOfGroupOptions) {
    this.#options = options
  }

  /**
   * Asks until there is an answer.
   * @returns whether the group is known to use this store; false where it names no store yet
   * @throws KafkaError `two-stores` where it uses another one; the last failure once the signal is aborted
   */
  async check(signal: AbortSignal): Promise<boolean> {
    const { cluster, groupId, store, partitions, failures, onConfirmed, clock } = this.#options
    const retry = new BackOff({ first: 50, longest: 2000, clock })
    const began = clock.now()
    for (;;) {
      try {
        const all = Array.from({ length: partitions() }, (_, partition) => partition)
        const claim = storeOfGroup(await cluster.committedOffsets(groupId, all))
        failures.worked(PART)
        if (claim === null) return false
        if (claim.id !== store.id) throw anotherStore(groupId, store, claim)
        onConfirmed()
        return true
      } catch (error) {
        if (!(error instanceof KafkaError) || !error.retriable || signal.aborted) throw error
        if (clock.now() - began > QUIET_PERIOD) failures.failed(PART, error)
      }
      await clock.wait(retry.next(), signal)
    }
  }

  /** Checks again and again until the signal is aborted: two instances may have started at the same moment. @throws as `check` */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    while (!signal.aborted) {
      await clock.wait(POLL_INTERVAL, signal)
      if (signal.aborted) return
      try {
        await this.check(signal)
      } catch (error) {
        if (!signal.aborted) throw error
      }
    }
  }
}
