/** Records that Kafka's Java client wrote are read as it wrote them, with every codec, plain and in committed transactions; records of aborted transactions are not. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Admin } from '@platformatic/kafka'
import { type Kafka, startKafka } from '@poke-api-pipeline/dev'
import { copyHeaders, MAX_HEADERS, type RecordView } from '@poke-api-pipeline/kafka-reader'
import { FakeHandler } from '@poke-api-pipeline/kafka-reader/testing/fake-handler'
import { Fetching } from '../fetching.ts'
import { ReferenceClient } from '../reference-client.ts'

const RECORDS = 300
/** What `ReferenceWriter` writes, in portions of that many records, and which of them must be read. */
const VISIBLE_PORTIONS = 6

const dir = mkdtempSync(join(tmpdir(), 'fetch-reference-'))
let kafka: Kafka
let writer: ReferenceClient | null = null

before(async () => {
  kafka = await startKafka({ dir })
  if (kafka.jars !== '') writer = await ReferenceClient.compile(kafka.jars, 'ReferenceWriter')
})
after(async () => {
  await writer?.remove()
  await kafka.kill()
  rmSync(dir, { recursive: true })
})

describe('records of the reference client', () => {
  for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
    for (const maxBytes of [1 << 20, 1 << 12]) {
      test(`${codec}, in responses of ${maxBytes} bytes`, async (t) => {
        if (writer === null) return t.skip('Kafka runs from its image here, without jars to compile against')
        const topic = `reference-${codec}-${maxBytes}`
        const admin = new Admin({ clientId: 'test', bootstrapBrokers: [kafka.brokers] })
        // The records are years old: retention would remove them at once.
        const configs = [{ name: 'retention.ms', value: '-1' }]
        await admin.createTopics({ topics: [topic], partitions: 1, replicas: 1, configs })
        await admin.close()
        const expected = await writer.run('ReferenceWriter', kafka.brokers, topic, codec, String(RECORDS))
        assert.equal(expected.length, VISIBLE_PORTIONS * RECORDS)

        const lines: string[] = []
        const handler = new FakeHandler((record) => lines.push(lineOf(record)))
        const fetching = new Fetching({ brokers: [kafka.brokers], topic, groupId: topic, limits: { maxBytes, maxWait: 200 } }, handler)
        t.after(() => fetching.stop())
        // The log ends with a transaction marker, and the position is behind it.
        await handler.until(() => handler.calls.some(({ nextOffset, highWatermark }) => nextOffset === highWatermark && nextOffset > 0))
        assert.deepEqual(
          handler.calls.filter(({ corrupt }) => corrupt !== null),
          [],
        )
        const wanted = expected.toSorted(byOffset)
        const different = wanted.findIndex((line, i) => lines[i] !== line)
        assert.deepEqual([lines[different], lines.length], [wanted[different], wanted.length], JSON.stringify(handler.calls))
      })
    }
  }
})

/** In the form in which `ReferenceWriter` prints it. */
function lineOf({ offset, timestamp, bytes, keyStart, keyEnd, valueStart, valueEnd, headersStart, headersEnd }: RecordView): string {
  const part = (start: number, end: number) => (start < 0 ? null : bytes.toString('utf8', start, end))
  const headers = copyHeaders(bytes.subarray(headersStart, headersEnd), MAX_HEADERS).map(([name, value]) => `|${name}=${value}`)
  return `${offset}|${timestamp}|${part(keyStart, keyEnd)}|${part(valueStart, valueEnd)}${headers.join('')}`
}

function byOffset(a: string, b: string): number {
  return Number(a.split('|')[0]) - Number(b.split('|')[0])
}
