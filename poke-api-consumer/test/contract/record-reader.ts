/** What every `RecordReader` must do with the partitions that it opens: the reader of Kafka and the one in memory run this suite. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PartitionHandler, PartitionSession, ReadOutcome, RecordReader, TopicPartition } from '@poke-api-pipeline/kafka-reader'

export interface RecordReaderHarness {
  readonly reader: RecordReader
  /** Appends so many records to one of the topic's two partitions. */
  append(partition: number, records: number): Promise<void>
}

/** Keeps positions in memory, and checks the order of calls. */
class RecordingHandler implements PartitionHandler {
  /** By partition: the offset of each record that was handed over. */
  readonly offsets: number[][] = [[], []]
  readonly opened: number[] = []
  readonly open: PartitionHandler['open']
  /** Decides what follows a response with records; called before its records are counted. */
  outcome: (partition: number, from: number) => ReadOutcome = () => 'next'
  openSessions = 0

  constructor() {
    this.open = async ({ partition }: TopicPartition) => this.#session(partition)
  }

  #session(partition: number): PartitionSession {
    const counted = this.offsets[partition] as number[]
    const start = counted.length
    let position = start
    let isCounting = false
    let isOver = false
    this.opened.push(partition)
    this.openSessions++
    const end = () => {
      if (!isOver) this.openSessions--
      isOver = true
    }
    return {
      get position() {
        return { offset: position, leaderEpoch: -1 }
      },
      state: 'active',
      process: async ({ fetchOffset, cursor }) => {
        assert.equal(isCounting, false, 'one response at a time')
        assert.equal(isOver, false, 'no response after the end')
        assert.equal(fetchOffset, position, 'each response begins where the last one ended')
        isCounting = true
        await sleep(1)
        const hasRecords = cursor.next()
        const outcome = hasRecords ? this.outcome(partition, fetchOffset) : 'next'
        if (outcome === 'next') {
          if (hasRecords)
            do counted.push(cursor.offset)
            while (cursor.next())
          position = cursor.nextOffset
        } else end()
        isCounting = false
        return outcome
      },
      dataLost: async (loss) => assert.fail(loss.message),
      close: async () => end(),
    }
  }
}

/** @param open called for each test, with its context; returns a reader of an empty topic with two partitions */
export function testRecordReader(name: string, open: (t: TestContext) => Promise<RecordReaderHarness>): void {
  const start = async (t: TestContext) => {
    const harness = await open(t)
    const handler = new RecordingHandler()
    const stop = new AbortController()
    const running = harness.reader.run(handler, stop.signal)
    const ended = running.then(
      () => null,
      (error: Error) => error,
    )
    const finish = async () => {
      stop.abort()
      await running
    }
    t.after(async () => {
      stop.abort()
      await ended
    })
    /** Waits until so many records of a partition were counted. */
    const counted = async (partition: number, records: number) => {
      while ((handler.offsets[partition]?.length ?? 0) < records) {
        const failed = await Promise.race([ended, sleep(5, 'goes on')])
        if (failed instanceof Error) throw failed
      }
      assert.deepEqual(
        handler.offsets[partition],
        Array.from({ length: records }, (_, offset) => offset),
      )
    }
    return { ...harness, handler, finish, counted }
  }

  describe(`${name} as a reader of records`, () => {
    test('hands over every record of every partition once, in order, also those that come later, and closes what it has opened', async (t) => {
      const { append, handler, counted, finish } = await start(t)
      await append(0, 50)
      await append(1, 7)
      await counted(0, 50)
      await counted(1, 7)
      await append(0, 25)
      await counted(0, 75)
      await finish()
      assert.deepEqual(handler.opened.toSorted(), [0, 1])
      assert.equal(handler.openSessions, 0)
    })

    test('opens a partition again after "reopen", and reads on from the position that it has then', async (t) => {
      const { append, handler, counted, finish } = await start(t)
      let refusals = 2
      handler.outcome = () => (refusals-- > 0 ? 'reopen' : 'next')
      await append(0, 30)
      await counted(0, 30)
      await finish()
      assert.equal(handler.opened.filter((partition) => partition === 0).length, 3)
    })

    test('hands over nothing more of a partition after "stop", and goes on with the others', async (t) => {
      const { append, handler, counted, finish } = await start(t)
      handler.outcome = (partition) => (partition === 0 ? 'stop' : 'next')
      await append(0, 3)
      await append(1, 3)
      await counted(1, 3)
      await append(0, 3)
      await append(1, 3)
      await counted(1, 6)
      await finish()
      assert.deepEqual(handler.offsets[0], [])
      assert.equal(handler.openSessions, 0)
    })
  })
}
