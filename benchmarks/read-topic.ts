/**
 * Reads a topic with `packages/kafka-reader` and does nothing with the records: a process to be measured, started by `reading.ts`.
 * `node read-topic.ts BROKER TOPIC N cursor|objects|stream`: as the hot loop sees records, where they lie; as objects, of which key and value
 * are made; or, to compare, through the stream of `@platformatic/kafka`.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Consumer } from '@platformatic/kafka'
import { GroupReader, type PartitionSession, readTopic, type TopicBatch } from '@poke-api-pipeline/kafka-reader'
import { systemClock } from '@poke-api-pipeline/service-kit/clock'

const [broker, topic, wanted, how] = process.argv.slice(2) as [string, string, string, 'cursor' | 'objects' | 'stream']
const records = Number(wanted)
const maxBytes = 8 * 1024 * 1024
const groupId = `reading-${randomUUID()}`
const done = new AbortController()
let began = 0
let seen = 0
/** Of keys and values, where records are objects. */
let bytes = 0

function arrived(): void {
  if (began === 0) began = performance.now()
}

function read(): void {
  if (seen < records || done.signal.aborted) return
  const seconds = (performance.now() - began) / 1000
  const { user, system } = process.cpuUsage()
  const megabytes = Math.round(process.resourceUsage().maxRSS / 1024)
  console.log(
    `${how} ${Math.round(seen / seconds)} rec/s in ${seconds.toFixed(3)} s, cpu ${((user + system) / 1e6).toFixed(2)} s, max rss ${megabytes} MB, ${bytes} bytes`,
  )
  done.abort()
}

async function asObjects(): Promise<void> {
  const save = ({ records }: TopicBatch) => {
    arrived()
    for (const { key, value } of records) bytes += (key?.length ?? 0) + (value?.length ?? 0)
    seen += records.length
    read()
    return true
  }
  await readTopic({ brokers: [broker], topic, groupId, maxBytes, load: () => null, save, report: console.error }, done.signal)
}

async function withCursor(): Promise<void> {
  const open = async (): Promise<PartitionSession> => {
    let offset: number | 'log-start' = 'log-start'
    return {
      get position() {
        return { offset, leaderEpoch: -1 }
      },
      state: 'active',
      process: async ({ cursor }) => {
        arrived()
        do while (cursor.next()) seen++
        while (cursor.paused)
        offset = cursor.nextOffset
        read()
        return 'next'
      },
      dataLost: async ({ message }) => {
        throw new Error(message)
      },
      close: async () => {},
    }
  }
  const failed = ({ message }: Error) => console.error(message)
  const observer = { brokerAway: failed, throttled: failed, membershipLost: failed }
  const store = { id: randomUUID(), name: 'nothing', instance: String(process.pid) }
  const limits = { maxBytes, maxWait: 500 }
  const reader = new GroupReader({ brokers: [broker], topic, groupId, clientId: groupId, store, limits, observer, clock: systemClock() })
  await reader.run({ open }, done.signal)
}

async function asStream(): Promise<void> {
  const consumer = new Consumer({ clientId: groupId, groupId, bootstrapBrokers: [broker] })
  const stream = await consumer.consume({ topics: [topic], mode: 'earliest', maxBytes, maxBytesPerPartition: maxBytes, autocommit: false })
  stream.on('data', () => {
    arrived()
    seen++
    read()
  })
  await once(done.signal, 'abort')
  await consumer.close(true)
}

await { cursor: withCursor, objects: asObjects, stream: asStream }[how]()
