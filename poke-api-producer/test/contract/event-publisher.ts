/** What every `EventPublisher` must do: each implementation runs this suite by a short file of its own. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { encodeKey, encodeValue } from '@poke-api-pipeline/pokemon-event'
import type { EventPublisher, OutboxEvent } from '../../src/application/ports.ts'
import { pokemon } from '../pokemon.ts'

export interface PublisherHarness {
  /** Of a topic that is not made yet, with three partitions. */
  readonly publisher: EventPublisher
  /** What a consumer finds in the topic: its partitions, each from its beginning. */
  topic(): Promise<ArrivedEvent[][]>
}

/** What of an event arrives. */
export type ArrivedEvent = Omit<OutboxEvent, 'partition'>

/** @param make called for each test, which tells when it is over */
export function testEventPublisher(name: string, make: (t: TestContext) => Promise<PublisherHarness>): void {
  const signal = new AbortController().signal

  describe(`${name} as a publisher of events`, () => {
    test('knows no partition before the topic is prepared', async (t) => {
      const { publisher } = await make(t)
      assert.equal(publisher.partitionOf, null)
    })

    test('chooses the same partition for a key as the Java client’s default partitioner', async (t) => {
      const { publisher } = await make(t)
      await publisher.prepare(signal)
      const keys = ['1', '25', '132', '1025', '10001', '10326']
      // From org.apache.kafka.common.utils.Utils: toPositive(murmur2(key)).
      const hashes = [154038159, 2125006797, 134952813, 443068397, 2085359519, 192980732]
      assert.deepEqual(
        keys.map((key) => publisher.partitionOf?.(key)),
        hashes.map((hash) => hash % 3),
      )
    })

    test('an event arrives as it is stored, in the partition that was chosen for it', async (t) => {
      const { publisher, topic } = await make(t)
      await publisher.prepare(signal)
      const sent = event(7, 2)
      await publisher.publish([sent])
      assert.deepEqual(await topic(), [[], [], arrivals([sent])])
    })

    test('events keep their order in each partition', async (t) => {
      const { publisher, topic } = await make(t)
      await publisher.prepare(signal)
      const events = Array.from({ length: 2000 }, (_, i) => event(i + 1, (i * 7) % 3))
      await publisher.publish(events.slice(0, 1500))
      await publisher.publish(events.slice(1500))
      const expected = [0, 1, 2].map((partition) => arrivals(events.filter((each) => each.partition === partition)))
      assert.deepEqual(await topic(), expected)
    })

    test('events that are sent again arrive again, unchanged', async (t) => {
      const { publisher, topic } = await make(t)
      await publisher.prepare(signal)
      const events = [event(1, 0), event(2, 0)]
      await publisher.publish(events)
      await publisher.publish(events)
      assert.deepEqual(await topic(), [arrivals([...events, ...events]), [], []])
    })

    test('preparing an existing topic changes nothing', async (t) => {
      const { publisher, topic } = await make(t)
      await publisher.prepare(signal)
      await publisher.publish([event(1, 1)])
      await publisher.prepare(signal)
      assert.deepEqual(await topic(), [[], arrivals([event(1, 1)]), []])
    })

    test('an event without a partition is a mistake, and nothing of its send arrives', async (t) => {
      const { publisher, topic } = await make(t)
      await publisher.prepare(signal)
      await assert.rejects(publisher.publish([event(1, 0), { ...event(2, 0), partition: null }]), TypeError)
      await publisher.publish([event(3, 0)])
      assert.deepEqual(await topic(), [arrivals([event(3, 0)]), [], []])
    })

    test('can be closed twice', async (t) => {
      const { publisher } = await make(t)
      await publisher.prepare(signal)
      await publisher.close()
      await publisher.close()
    })
  })
}

/** An event with that sequence, for a partition. */
export function event(sequence: number, partition: number): OutboxEvent {
  const of = pokemon(sequence, 'grass', 'poison')
  return {
    source: '/poke-api-producer/test',
    sequence,
    partition,
    key: encodeKey(of),
    value: encodeValue(of),
    time: '2026-01-02T03:04:05.678Z',
    origin: 'bundled',
  }
}

export function arrivals(events: readonly OutboxEvent[]): ArrivedEvent[] {
  return events.map(({ partition: _, ...rest }) => rest)
}
