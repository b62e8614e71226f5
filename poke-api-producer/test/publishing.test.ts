/** The states of publishing: an invalid transition is refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { BackOff, systemClock } from '@poke-api-pipeline/service-kit'
import { Notifier } from '../src/application/notifier.ts'
import type { OutboxWriter } from '../src/application/outbox-writer.ts'
import type { Outbox } from '../src/application/ports.ts'
import { Publishing } from '../src/application/publishing.ts'
import { MockKafkaProducer } from './mock-kafka-producer.ts'
import { RecordingObserver } from './recording-observer.ts'

function setUp() {
  const clock = systemClock()
  const notifier = new Notifier()
  const publishing = new Publishing({
    outbox: { depth: 0 } as Outbox,
    writer: {} as OutboxWriter,
    publisher: new MockKafkaProducer(),
    observer: new RecordingObserver(),
    notifier,
    backoff: new BackOff({ first: 1, longest: 1, clock }),
    crashPoint: () => {},
    clock,
  })
  return { publishing, notifier, stop: new AbortController() }
}

test('refuses to run again after it was stopped', async () => {
  const { publishing, notifier, stop } = setUp()
  const running = publishing.run(stop.signal)
  await nextTurn()
  stop.abort()
  notifier.notify()
  await running
  await assert.rejects(publishing.run(new AbortController().signal), /^Error: publishing cannot go from "stopped" to "preparing"$/)
})

test('refuses to run twice at the same time, and the first run goes on', async () => {
  const { publishing, notifier, stop } = setUp()
  const running = publishing.run(stop.signal)
  await nextTurn()
  await assert.rejects(publishing.run(stop.signal), /^Error: publishing cannot go from "idle" to "preparing"$/)
  stop.abort()
  notifier.notify()
  await running
})
