/** Two hundred pages at once: memory stays flat, counting goes on, and a page that stops reading is dropped. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { get, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startKafka } from '@poke-api-pipeline/dev'
import { ConsumerProcess } from '../consumer-process.ts'
import { EventFeed } from '../event-feed.ts'
import { patience } from '../fault-run.ts'
import { Inspector } from '../inspector.ts'

const PAGES = 200
/** Before memory is measured for the first time, and between the first and the second time, in ms. */
const PERIOD = 60_000
const MAX_GROWTH = 16 * 1024 * 1024
/** So many that a snapshot is large, and a page that does not read soon has too much unread. */
const PARTITIONS = 100

test(`${PAGES} pages at once`, { timeout: 10 * 60_000 }, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'poke-load-'))
  // The last one started is the first one that is closed.
  const parts = new AsyncDisposableStack()
  t.after(() => parts.disposeAsync())
  parts.defer(() => rm(dir, { recursive: true, force: true }))
  const kafka = await startKafka({ dir: join(dir, 'kafka') })
  parts.defer(() => kafka.stop())
  const feed = await EventFeed.create({ brokers: kafka.brokers, topic: 'poke-topic', partitions: PARTITIONS })
  parts.defer(() => feed.close())
  const consumer = await ConsumerProcess.start({
    brokers: kafka.brokers,
    topic: 'poke-topic',
    dir,
    nodeArguments: ['--inspect=127.0.0.1:0'],
  })
  parts.defer(() => consumer.end('SIGKILL'))
  const flowing = new AbortController()
  const flow = feed.flow(flowing.signal, { events: PARTITIONS, pause: 50 })

  const pages = await Promise.all(Array.from({ length: PAGES }, () => openStream(consumer.url)))
  const frozen = await freeze(consumer.url)
  const inspector = await Inspector.attach(consumer.output)
  parts.defer(() => inspector.close())

  await sleep(PERIOD)
  const before = await inspector.memoryInUse()
  const countedBefore = pages[0]?.counted() ?? 0
  await sleep(PERIOD)
  const after = await inspector.memoryInUse()
  const growth = after.heapUsed + after.external - before.heapUsed - before.external
  t.diagnostic(`heap and external in use: ${mebibytes(before)}, a minute later ${mebibytes(after)}`)
  assert.ok(growth <= MAX_GROWTH, `${(growth / 2 ** 20).toFixed(1)} MB more`)

  flowing.abort()
  await flow
  assert.ok((pages[0]?.counted() ?? 0) > countedBefore, 'counting goes on')
  const deadline = performance.now() + patience(30_000)
  while (!pages.every((page) => page.counted() === feed.sent)) {
    assert.ok(performance.now() < deadline, `of ${feed.sent} the pages show ${[...new Set(pages.map((page) => page.counted()))]}`)
    await sleep(50)
  }
  assert.ok(
    pages.every((page) => page.open()),
    'whoever reads is kept',
  )

  // Now everything that was sent to the frozen page is read; after it comes the end of the stream.
  frozen.resume()
  if (!frozen.closed) await once(frozen, 'close')
})

interface StreamReader {
  /** The group's count in the last snapshot. */
  counted(): number
  open(): boolean
}

async function openStream(url: string): Promise<StreamReader> {
  const request = get(`${url}/api/events`, { agent: false })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  assert.equal(response.statusCode, 200)
  let counted = 0
  let open = true
  response.setEncoding('utf8').on('data', (text: string) => {
    const figures = /"group":\{"counted":(\d+)/.exec(text)
    if (figures !== null) counted = Number(figures[1])
  })
  response.on('close', () => {
    open = false
  })
  response.on('error', () => {})
  return { counted: () => counted, open: () => open }
}

/** A page whose browser has stopped: it requested the stream, and reads nothing of it. */
async function freeze(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  socket.on('error', () => {})
  socket.pause()
  socket.write(`GET /api/events HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`)
  return socket
}

function mebibytes({ heapUsed, external }: { readonly heapUsed: number; readonly external: number }): string {
  return `${((heapUsed + external) / 2 ** 20).toFixed(1)} MB`
}
