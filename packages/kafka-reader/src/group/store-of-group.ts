/** Rule S5 before anything is counted, and while it is: sees whether the group counts into the store of this instance. */

import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import type { Cluster } from '../brokers/cluster.ts'
import { KafkaError } from '../errors.ts'
import { anotherStore, type StoreIdentity, storeOfGroup } from './store-claim.ts'

export interface StoreOfGroupOptions {
  readonly cluster: Pick<Cluster, 'mirrored'>
  readonly groupId: string
  readonly store: StoreIdentity
  readonly partitions: () => number
  readonly failures: FailureTracker
  /** The group is known to count into this store. */
  readonly known: () => void
  readonly clock: Clock
}

/** How often it is looked at that the group's store is still this one, in ms. */
const LOOK_INTERVAL = 3000
/** A coordinator that has just begun has no answer for a moment: what lasts no longer than this, in ms, is not worth a word. */
const QUIET = 3000
const PART = 'the store of the group'

export class StoreOfGroup {
  readonly #options: StoreOfGroupOptions

  constructor(options: StoreOfGroupOptions) {
    this.#options = options
  }

  /**
   * Asks until there is an answer.
   * @returns whether the group is known to count into this store; false where no store is named yet
   * @throws KafkaError `two-stores` where it counts into another one; what was the matter last where the signal is aborted
   */
  async check(signal: AbortSignal): Promise<boolean> {
    const { cluster, groupId, store, partitions, failures, known, clock } = this.#options
    const retry = new BackOff({ first: 50, longest: 2000, clock })
    const began = clock.now()
    for (;;) {
      try {
        const all = Array.from({ length: partitions() }, (_, partition) => partition)
        const claim = storeOfGroup(await cluster.mirrored(groupId, all))
        failures.worked(PART)
        if (claim === null) return false
        if (claim.id !== store.id) throw anotherStore(groupId, store, claim)
        known()
        return true
      } catch (error) {
        if (!(error instanceof KafkaError) || !error.retriable || signal.aborted) throw error
        if (clock.now() - began > QUIET) failures.failed(PART, error)
      }
      await clock.wait(retry.next(), signal)
    }
  }

  /** Goes on looking until the signal is aborted: two instances may have begun at the same moment. @throws as `check` */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    while (!signal.aborted) {
      await clock.wait(LOOK_INTERVAL, signal)
      if (signal.aborted) return
      try {
        await this.check(signal)
      } catch (error) {
        if (!signal.aborted) throw error
      }
    }
  }
}
