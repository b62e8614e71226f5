/** What every `Outbox` must do: each implementation runs this suite by a short file of its own. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { encodeKey, encodeValue } from '@poke-api-pipeline/pokemon-event'
import type { Outbox, OutboxChange } from '../../src/application/ports.ts'
import { SweepOrder, type SweepProgress } from '../../src/entities/capture-order.ts'
import { capture } from '../pokemon.ts'

export interface OutboxHarness {
  /** Opens what was kept, empty at first, as another run of the service. The one before was closed, or its process has died. */
  open(): Outbox
  /** The process of the outbox that is open dies: nothing is closed. */
  die(): void
}

/** @param make called for each test, which tells when it is over */
export function testOutbox(name: string, make: (t: TestContext) => OutboxHarness): void {
  const nothing: OutboxChange = { captures: [], acknowledged: 0, partitionOf: null }
  const inPartition = (partition: number) => () => partition
  const sequences = (outbox: Outbox) => outbox.oldest(1000).map((event) => event.sequence)

  describe(`${name} as an outbox`, () => {
    test('is empty at first, and no sweep is under way', (t) => {
      const outbox = make(t).open()
      assert.equal(outbox.depth, 0)
      assert.equal(outbox.captured, 0)
      assert.deepEqual(outbox.oldest(10), [])
      assert.equal(outbox.sweep(), null)
    })

    test('stores an event as it is sent: key, bytes, time, origin, identity and partition', (t) => {
      const outbox = make(t).open()
      const pikachu = capture(25, 'electric')
      outbox.commit({ ...nothing, captures: [pikachu], partitionOf: inPartition(2) })
      const [event] = outbox.oldest(10)
      assert.match(event?.source ?? '', /^\/poke-api-producer\/.+$/)
      assert.deepEqual(event, {
        source: event?.source,
        sequence: 1,
        partition: 2,
        key: encodeKey(pikachu.pokemon),
        value: encodeValue(pikachu.pokemon),
        time: pikachu.time,
        origin: pikachu.origin,
      })
    })

    test('numbers events from 1, one after the other, in the order in which they come (rule P5)', (t) => {
      const outbox = make(t).open()
      outbox.commit({ ...nothing, captures: [capture(7), capture(3)] })
      outbox.commit({ ...nothing, captures: [capture(5)] })
      assert.deepEqual(
        outbox.oldest(10).map((event) => [event.sequence, event.key]),
        [
          [1, '7'],
          [2, '3'],
          [3, '5'],
        ],
      )
      assert.equal(outbox.depth, 3)
    })

    test('returns the oldest events, as many as requested', (t) => {
      const outbox = make(t).open()
      outbox.commit({ ...nothing, captures: [capture(1), capture(2), capture(3)] })
      assert.deepEqual(
        outbox.oldest(2).map((event) => event.key),
        ['1', '2'],
      )
    })

    test('removes acknowledged events in the same transaction that stores new ones', (t) => {
      const outbox = make(t).open()
      outbox.commit({ ...nothing, captures: [capture(1), capture(2), capture(3)] })
      outbox.commit({ ...nothing, captures: [capture(4)], acknowledged: 2 })
      assert.deepEqual(sequences(outbox), [3, 4])
      assert.equal(outbox.depth, 2)
      assert.equal(outbox.captured, 4)
    })

    test('never gives a sequence twice, not after the outbox was emptied and opened again (rule P2)', (t) => {
      const harness = make(t)
      let outbox = harness.open()
      outbox.commit({ ...nothing, captures: [capture(1), capture(2)] })
      outbox.commit({ ...nothing, acknowledged: 2 })
      outbox.commit({ ...nothing, captures: [capture(3)] })
      assert.deepEqual(sequences(outbox), [3])
      outbox.commit({ ...nothing, acknowledged: 3 })
      outbox.close()
      outbox = harness.open()
      assert.deepEqual([outbox.depth, outbox.captured], [0, 3], 'how many were captured is known of all runs')
      outbox.commit({ ...nothing, captures: [capture(4)] })
      assert.deepEqual(sequences(outbox), [4])
    })

    test('each run has a source of its own, and leaves the events of earlier runs as they are (rule P1)', (t) => {
      const harness = make(t)
      const first = harness.open()
      first.commit({ ...nothing, captures: [capture(1)] })
      const before = first.oldest(10)
      first.close()
      const second = harness.open()
      assert.deepEqual(second.oldest(10), before, 'an earlier run’s event was changed')
      second.commit({ ...nothing, captures: [capture(2)] })
      const [earlier, later] = second.oldest(10)
      assert.notEqual(earlier?.source, later?.source, 'a run added to the source of an earlier one')
      assert.equal(new Set([earlier?.source, later?.source]).size, 2)
    })

    test('keeps everything that was committed when its process is killed', (t) => {
      const harness = make(t)
      const outbox = harness.open()
      const sweep = new SweepOrder([1, 2, 3])
      sweep.next()
      const progress = sweep.complete(1, capture(1).pokemon)
      outbox.commit({ ...nothing, captures: [capture(1)], sweep: progress })
      harness.die()
      const again = harness.open()
      assert.equal(again.depth, 1)
      assert.deepEqual(sequences(again), [1])
      assert.deepEqual(again.sweep(), progress)
    })

    test('the sweep’s progress stays until it is changed, and ends with null', (t) => {
      const outbox = make(t).open()
      const sweep = new SweepOrder([1, 2])
      const { progress } = sweep
      outbox.commit({ ...nothing, sweep: progress })
      outbox.commit({ ...nothing, captures: [capture(9)] })
      assert.deepEqual(outbox.sweep(), progress)
      sweep.next()
      const further = sweep.complete(1, null)
      outbox.commit({ ...nothing, sweep: further })
      assert.deepEqual(outbox.sweep(), further)
      outbox.commit({ ...nothing, sweep: null })
      assert.equal(outbox.sweep(), null)
    })

    test('events, sequence and sweep progress are stored together or not at all (rule P2)', (t) => {
      const outbox = make(t).open()
      outbox.commit({ ...nothing, captures: [capture(1)] })
      const { progress } = new SweepOrder([1, 2, 3])
      const failsForThree = (key: string) => {
        if (key === '3') throw new RangeError('this key has no partition')
        return 0
      }
      const change = { captures: [capture(2), capture(3)], acknowledged: 1, sweep: progress, partitionOf: failsForThree }
      assert.throws(() => outbox.commit(change), RangeError)
      assert.deepEqual(sequences(outbox), [1])
      assert.equal(outbox.depth, 1)
      assert.equal(outbox.sweep(), null)
      const unspeakable: SweepProgress = Object.assign({ ...progress }, { toJSON: () => assert.fail('no JSON') })
      assert.throws(() => outbox.commit({ ...change, sweep: unspeakable, partitionOf: null }), /no JSON/)
      assert.deepEqual([sequences(outbox), outbox.depth], [[1], 1])
      outbox.commit({ ...change, partitionOf: null })
      assert.deepEqual(sequences(outbox), [2, 3], 'the failed commit has used up a sequence')
    })

    test('a partition can be assigned later, and then never changes (rule P3)', (t) => {
      const harness = make(t)
      const outbox = harness.open()
      outbox.commit({ ...nothing, captures: [capture(1), capture(2)] })
      outbox.commit({ ...nothing, captures: [capture(3)], partitionOf: inPartition(5) })
      const partitions = () => outbox.oldest(10).map((event) => event.partition)
      assert.deepEqual(partitions(), [null, null, 5])
      outbox.assignPartitions(new Map([[1, 0]]))
      assert.deepEqual(partitions(), [0, null, 5])
      outbox.assignPartitions(
        new Map([
          [1, 4],
          [2, 1],
          [3, 4],
        ]),
      )
      assert.deepEqual(partitions(), [0, 1, 5], 'a partition that was chosen has changed')
      harness.die()
      assert.deepEqual(
        harness
          .open()
          .oldest(10)
          .map((event) => event.partition),
        [0, 1, 5],
      )
    })

    test('can be closed twice', (t) => {
      const outbox = make(t).open()
      outbox.close()
      outbox.close()
    })
  })
}
