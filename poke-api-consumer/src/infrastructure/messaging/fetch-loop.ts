/**
 * Fetches from each leader at the positions of the opened partitions, and hands over what comes. The next fetch of a leader is under way
 * while its last response is counted: so at most two responses of a leader are in memory.
 */
import type { Connection } from '@platformatic/kafka'
import type { DataLoss, FetchHandler, PartitionReader, TopicPartition } from '../../application/ports.ts'
import { KafkaError } from '../../errors.ts'
import { endOfBatches } from './batch-format.ts'
import type { Cluster, Topic } from './cluster.ts'
import { withDeadline } from './deadline.ts'
import type { FetchedPartition, FetchResponse } from './fetch-response.ts'
import type { BatchCursor } from './record-batch.ts'

export interface FetchLimits {
  /** Bytes in a response, and of one partition in it; a larger batch comes whole. */
  readonly maxBytes: number
  /** How long the broker waits for records, in ms. */
  readonly maxWait: number
}

export interface FetchLoopOptions {
  readonly cluster: Cluster
  readonly topic: string
  readonly cursor: BatchCursor
  readonly limits: FetchLimits
  readonly observer: FetchLoopObserver
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  readonly random: () => number
}

export interface FetchLoopObserver {
  /** Records cannot be fetched; it is tried again. */
  brokerAway(error: Error): void
  /** A broker answered. */
  brokerBack(): void
}

/** One partition that was handed to this member. */
interface Slot {
  readonly at: TopicPartition
  reader: PartitionReader | null
  /** What to ask for next. */
  offset: number
  leaderEpoch: number
  /** Changes with each opening: answers to earlier questions are void (rule S2). */
  opening: object
  state: 'opening' | 'reading' | 'left-alone' | 'closed'
  /** Opened so often without anything counted: it is opened more slowly. */
  attempts: number
}

/** Answers that say that somebody else leads, or that the topic is not as we know it (https://kafka.apache.org/protocol#protocol_error_codes). */
const ASK_AGAIN = new Set([3, 5, 6, 9, 56, 74, 75, 76, 78, 100, 103])
const OFFSET_OUT_OF_RANGE = 1
const TOPIC_AUTHORIZATION_FAILED = 29

const FIRST_RETRY = 50
const LONGEST_RETRY = 5000
/** Beyond the broker's own waiting, in ms. */
const ANSWER_DEADLINE = 5000

export class FetchLoop {
  readonly #options: FetchLoopOptions
  readonly #slots = new Map<number, Slot>()
  #assigned: ReadonlySet<number> = new Set()
  #topic: Topic
  /** Brokers that a loop of their own fetches from. */
  readonly #fetching = new Map<number, Promise<void>>()
  /** Rotates the partitions in the requests, so that a backlog in one does not starve the others (rule F3). */
  #turn = 0
  #refreshing: Promise<void> | null = null
  #handler!: FetchHandler
  #signal: AbortSignal = AbortSignal.abort()
  readonly #failed = Promise.withResolvers<never>()
  #changed: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(topic: Topic, options: FetchLoopOptions) {
    this.#topic = topic
    this.#options = options
    this.#failed.promise.catch(() => {})
  }

  /** The next offset to count of each partition that is read. */
  get positions(): ReadonlyMap<number, number> {
    const positions = new Map<number, number>()
    for (const [partition, { reader }] of this.#slots) {
      const offset = reader?.position.offset
      if (typeof offset === 'number') positions.set(partition, offset)
    }
    return positions
  }

  /** Whether the topic has more partitions than when this was asked last. Does not reject. */
  async partitionsAdded(): Promise<boolean> {
    const before = this.#topic
    await this.#refresh()
    return this.#topic.topicId === before.topicId && this.#topic.partitions.length > before.partitions.length
  }

  /** From now on these partitions are read, and no others. */
  assign(partitions: ReadonlySet<number>): void {
    this.#assigned = partitions
    this.#reconcile()
  }

  /**
   * Fetches until the signal is aborted; then closes every partition.
   * @throws ServiceError where it is hopeless
   */
  async run(handler: FetchHandler, signal: AbortSignal): Promise<void> {
    this.#handler = handler
    this.#signal = signal
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    this.#reconcile()
    try {
      await Promise.race([aborted, this.#failed.promise])
    } finally {
      this.#notify()
      this.#assigned = new Set()
      await Promise.all([...this.#slots.values()].map((slot) => this.#close(slot)))
    }
  }

  /** Opens what was handed to us and closes what was taken away; each leader of an opened partition has a loop. */
  #reconcile(): void {
    if (this.#signal.aborted) return
    for (const slot of [...this.#slots.values()]) {
      const same = slot.at.topicId === this.#topic.topicId
      if (!this.#assigned.has(slot.at.partition) || !same) void this.#close(slot)
    }
    for (const partition of this.#assigned) {
      if (this.#slots.has(partition) || partition >= this.#topic.partitions.length) continue
      const slot: Slot = {
        at: { topic: this.#options.topic, topicId: this.#topic.topicId, partition },
        reader: null,
        offset: -1,
        leaderEpoch: -1,
        opening: {},
        state: 'opening',
        attempts: 0,
      }
      this.#slots.set(partition, slot)
      void this.#open(slot)
    }
  }

  /** Never rejects. */
  async #open(slot: Slot): Promise<void> {
    const { wait, random, observer, cluster } = this.#options
    const opening = {}
    slot.opening = opening
    slot.state = 'opening'
    const isCurrent = () => slot.opening === opening && slot.state !== 'closed'
    try {
      if (slot.attempts > 1) await wait(backoff(slot.attempts - 1, random), this.#signal)
      slot.attempts++
      await slot.reader?.close()
      if (!isCurrent()) return
      const reader = await this.#handler.open(slot.at)
      if (!isCurrent()) return await reader.close()
      slot.reader = reader
      let { offset } = reader.position
      while (offset === 'log-start') {
        try {
          offset = (await cluster.offsets(slot.at.partition)).start
        } catch (error) {
          if (error instanceof KafkaError && !error.retriable) throw error
          observer.brokerAway(error as Error)
          await wait(backoff(slot.attempts++, random), this.#signal)
          if (this.#signal.aborted || !isCurrent()) return
        }
      }
      if (!isCurrent()) return
      slot.offset = offset
      slot.leaderEpoch = reader.position.leaderEpoch
      slot.state = reader.stopped ? 'left-alone' : 'reading'
      this.#startLoops()
      this.#notify()
    } catch (error) {
      if (!this.#signal.aborted) this.#failed.reject(error)
    }
  }

  async #close(slot: Slot): Promise<void> {
    slot.state = 'closed'
    slot.opening = {}
    if (this.#slots.get(slot.at.partition) === slot) this.#slots.delete(slot.at.partition)
    await slot.reader?.close()
  }

  #startLoops(): void {
    for (const slot of this.#slots.values()) {
      const leader = this.#topic.partitions[slot.at.partition]
      if (slot.state !== 'reading' || leader === undefined) continue
      if (leader.node < 0) void this.#refresh()
      else if (!this.#fetching.has(leader.node)) {
        const loop = this.#fetchFrom(leader.node).catch((error) => this.#failed.reject(error))
        this.#fetching.set(leader.node, loop)
        void loop.then(() => this.#fetching.delete(leader.node))
      }
    }
  }

  #ledBy(node: number): Slot[] {
    return [...this.#slots.values()].filter((slot) => this.#topic.partitions[slot.at.partition]?.node === node && slot.state === 'reading')
  }

  /** Fetches from one broker for as long as it leads partitions of ours. @throws ServiceError where it is hopeless */
  async #fetchFrom(node: number): Promise<void> {
    const { observer, wait, random } = this.#options
    let failures = 0
    while (!this.#signal.aborted && this.#slots.size > 0) {
      let connection: Connection | null = null
      try {
        connection = await this.#options.cluster.connection(node)
        await this.#fetchOver(connection, node, () => {
          failures = 0
          observer.brokerBack()
        })
        // It leads nothing of ours any more.
        if (this.#ledBy(node).length === 0) return
      } catch (error) {
        if (this.#signal.aborted) return
        if (error instanceof KafkaError && !error.retriable) throw error
        observer.brokerAway(error as Error)
        await wait(backoff(failures++, random), this.#signal)
        await this.#refresh()
        if (this.#topic.partitions.every((leader) => leader.node !== node)) return
      } finally {
        connection?.socket?.destroy()
      }
    }
  }

  async #fetchOver(connection: Connection, node: number, answered: () => void): Promise<void> {
    let next = this.#ask(connection, node)
    for (;;) {
      const answer = await next
      if (answer === null) return
      answered()
      // What to ask for next stands in the heads of the batches: it is asked for before these are counted.
      for (const part of answer.parts) this.#advance(part, answer.response)
      next = this.#ask(connection, node)
      next.catch(() => {})
      let doubtful = false
      for (const part of answer.parts) if (!(await this.#deliver(part, answer.response))) doubtful = true
      if (doubtful) {
        await this.#options.wait(FIRST_RETRY, this.#signal)
        await this.#refresh()
      }
    }
  }

  /** Sends a Fetch for what this broker leads; null: nothing, or nothing any more. */
  async #ask(connection: Connection, node: number): Promise<Answer | null> {
    const { cluster, limits } = this.#options
    let slots = this.#ledBy(node)
    while (slots.length === 0) {
      const opening = [...this.#slots.values()].some(
        ({ at, state }) => state === 'opening' && this.#topic.partitions[at.partition]?.node === node,
      )
      if (this.#signal.aborted || !opening) return null
      await this.#changed.promise
      slots = this.#ledBy(node)
    }
    const turn = this.#turn++ % slots.length
    slots = [...slots.slice(turn), ...slots.slice(0, turn)]
    const asked = slots.map((slot) => ({ slot, opening: slot.opening, offset: slot.offset }))
    const partitions = slots.map((slot) => ({
      partition: slot.at.partition,
      currentLeaderEpoch: this.#topic.partitions[slot.at.partition]?.leaderEpoch ?? -1,
      fetchOffset: BigInt(slot.offset),
      lastFetchedEpoch: slot.leaderEpoch,
      partitionMaxBytes: limits.maxBytes,
    }))
    const topics = [{ topicId: this.#topic.topicId, partitions }]
    const fetch = await cluster.fetch()
    const response = await withDeadline(
      fetch.async(connection, limits.maxWait, 1, limits.maxBytes, 1, 0, -1, topics, [], ''),
      limits.maxWait + ANSWER_DEADLINE,
      `a Fetch from broker ${node}`,
    )
    if (response.errorCode !== 0)
      throw new KafkaError('refused', `broker ${node} refused a Fetch (error ${response.errorCode}); it is tried again`)
    const answers = response.topics.get(this.#topic.topicId) ?? []
    const parts = answers.flatMap((answer) => {
      const question = asked.find(({ slot }) => slot.at.partition === answer.partition)
      return question === undefined ? [] : [{ ...question, answer }]
    })
    return { response, parts }
  }

  #advance({ slot, opening, offset, answer }: Part, response: FetchResponse): void {
    if (slot.opening !== opening || slot.offset !== offset || answer.errorCode !== 0 || answer.diverging !== null) return
    const end = endOfBatches(response.view, answer.recordsStart, answer.recordsEnd, offset, slot.leaderEpoch)
    slot.offset = end.offset
    slot.leaderEpoch = end.leaderEpoch
  }

  /** Hands a partition's part to its reader. @returns false where the leader or the topic must be asked for anew */
  async #deliver({ slot, opening, offset, answer }: Part, response: FetchResponse): Promise<boolean> {
    const { reader } = slot
    if (slot.opening !== opening || slot.state !== 'reading' || reader === null) return true
    if (ASK_AGAIN.has(answer.errorCode)) return false
    if (answer.errorCode === TOPIC_AUTHORIZATION_FAILED)
      throw new KafkaError('not-authorised', `Kafka does not allow to read topic ${slot.at.topic}: grant Read on it`)
    if (answer.errorCode === OFFSET_OUT_OF_RANGE) return await this.#outOfRange(slot, reader, offset)
    if (answer.errorCode !== 0)
      throw new KafkaError('refused', `Kafka refused to read partition ${slot.at.partition} (error ${answer.errorCode}); it is tried again`)
    if (answer.diverging !== null) {
      const { endOffset, leaderEpoch } = answer.diverging
      await this.#lost(slot, reader, {
        kind: 'truncated',
        message: `the log was cut below the position ${offset} and may have been refilled: what was counted from offset ${endOffset} on (${offset - endOffset} offsets) is not what is there now (common part up to leader epoch ${leaderEpoch})`,
        from: endOffset,
        to: endOffset,
      })
      return true
    }
    // Somebody else's copy is never asked for, as this member says no rack.
    if (answer.preferredReadReplica >= 0)
      throw new KafkaError(
        'bad-response',
        `Kafka names replica ${answer.preferredReadReplica} to read partition ${slot.at.partition} from, unasked; it is tried again`,
      )
    const cursor = this.#options.cursor.reset(response.bytes, answer.recordsStart, answer.recordsEnd, offset, answer.aborted)
    const { highWatermark, lastStableOffset, logStartOffset } = answer
    const outcome = await reader.count({
      fetchOffset: offset,
      cursor,
      bytes: answer.recordsEnd - answer.recordsStart,
      highWatermark,
      lastStableOffset,
      logStartOffset,
    })
    if (slot.opening !== opening) return true
    if (outcome === 'next') {
      if (cursor.nextOffset > offset) slot.attempts = 0
    } else if (outcome === 'reopen') void this.#open(slot)
    else slot.state = 'left-alone'
    return true
  }

  async #outOfRange(slot: Slot, reader: PartitionReader, offset: number): Promise<boolean> {
    const { start, end } = await this.#options.cluster.offsets(slot.at.partition)
    // A new leader may lag behind for a moment.
    if (offset >= start && offset <= end) return false
    const loss: DataLoss =
      offset < start
        ? {
            kind: 'retention',
            message: `retention removed ${start - offset} offsets before they were read: from ${offset} to ${start - 1}`,
            from: offset,
            to: start,
          }
        : {
            kind: 'truncated',
            message: `the log ends at offset ${end}, below the position ${offset}: ${offset - end} offsets that were counted are gone`,
            from: end,
            to: end,
          }
    await this.#lost(slot, reader, loss)
    return true
  }

  async #lost(slot: Slot, reader: PartitionReader, loss: DataLoss): Promise<void> {
    if ((await reader.lost(loss)) === 'reopen') void this.#open(slot)
    else slot.state = 'left-alone'
  }

  /** Asks who leads what, once for all who want to know. Does not reject: a failure is told, and the next attempt asks again. */
  async #refresh(): Promise<void> {
    this.#refreshing ??= this.#askForTopic().finally(() => {
      this.#refreshing = null
    })
    await this.#refreshing
  }

  async #askForTopic(): Promise<void> {
    const { cluster, observer, wait, random } = this.#options
    for (let failures = 0; !this.#signal.aborted; failures++) {
      try {
        const topic = await cluster.topic()
        if (topic !== null) {
          this.#topic = topic
          this.#reconcile()
          this.#startLoops()
          if (topic.partitions.some(({ node }) => node < 0)) this.#askLater(failures)
          return
        }
        observer.brokerAway(new KafkaError('no-topic', `topic ${this.#options.topic} is gone; it is waited for`))
      } catch (error) {
        if (error instanceof KafkaError && !error.retriable) return this.#failed.reject(error)
        observer.brokerAway(error as Error)
      }
      await wait(backoff(failures, random), this.#signal)
    }
  }

  /** A partition has no leader: the others go on meanwhile. */
  #askLater(failures: number): void {
    const { observer, wait, random, topic } = this.#options
    observer.brokerAway(
      new KafkaError('no-leader', `a partition of topic ${topic} has no leader: start the broker that keeps it; it is tried again`),
    )
    void wait(backoff(failures + 4, random), this.#signal).then(() => (this.#signal.aborted ? undefined : this.#refresh()))
  }

  #notify(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}

interface Question {
  readonly slot: Slot
  readonly opening: object
  readonly offset: number
}
interface Part extends Question {
  readonly answer: FetchedPartition
}
interface Answer {
  readonly response: FetchResponse
  readonly parts: readonly Part[]
}

function backoff(attempt: number, random: () => number): number {
  return Math.min(LONGEST_RETRY, FIRST_RETRY * 2 ** Math.min(attempt, 10)) * (0.5 + random() / 2)
}
