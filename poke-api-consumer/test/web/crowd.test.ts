/** Health and the page answer while clients hold thousands of connections. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { type TestContext, test } from 'node:test'
import { createLogger, createRegistry, Health, startHttpServer } from '@poke-api-pipeline/service-kit'
import { ask, holdConnections, median } from '@poke-api-pipeline/service-kit/testing'
import { GroupProgress } from '../../src/infrastructure/group-progress.ts'
import { LiveState } from '../../src/infrastructure/web/live-state.ts'
import { webPage } from '../../src/infrastructure/web/page.ts'

const HALF = 'GET /health/live HTTP/1.1\r\nHost: '
const STREAM = 'GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n'
const skip = process.platform === 'linux' ? false : 'only Linux has addresses beside 127.0.0.1 without being told'

async function serve(t: TestContext): Promise<number> {
  const progress = new GroupProgress(() => performance.now())
  const state = new LiveState({ instance: 'me', progress, monotonic: () => performance.now(), timeOfDay: Date.now })
  const store = { partitions: async () => [], deadLetters: async () => [], deadLetterReasons: async () => new Map() }
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    health: new Health(),
    registry: createRegistry(),
    logger: await createLogger({ service: 'test', level: 'fatal', format: 'json' }),
    plugins: [webPage({ state, progress, store, document: () => '{}', allowedHosts: [] })],
  })
  t.after(() => server.close())
  return server.port
}

/** The stream of events up to the first snapshot. */
async function firstPicture(port: number, localAddress: string): Promise<string> {
  const request = get({ host: '127.0.0.1', port, localAddress, path: '/api/events', agent: false, headers: { host: 'localhost' } })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  let text = ''
  for await (const part of response.setEncoding('utf8')) {
    text += part
    if (/^data: \{.*\}$/m.test(text)) break
  }
  return text
}

for (const [who, halfFrom, streamsFrom, visitor] of [
  ['a third client', '127.0.0.1', '127.0.0.2', '127.0.0.3'],
  ['a client with the same address', '127.0.0.1', '127.0.0.1', '127.0.0.1'],
] as const) {
  test(`${who} gets health and the page within a second, beside 5,000 half-open requests and 2,000 event streams`, { skip }, async (t) => {
    const port = await serve(t)
    await using half = holdConnections({ port, from: halfFrom, count: 5000, text: HALF })
    await using streams = holdConnections({ port, from: streamsFrom, count: 2000, text: STREAM })
    const opened = Promise.all([half.opened(5000), streams.opened(2000)])
    const ms = new Map<string, number[]>(['/health/live', '/health/ready', '/', '/page.js'].map((path) => [path, []]))
    let rounds = 20
    void opened.then(() => rounds--)
    while (rounds > 0) {
      for (const [path, times] of ms) {
        const answer = await ask(port, visitor, path)
        assert.equal(answer.status, 200, path)
        times.push(answer.ms)
      }
      if (rounds < 20) rounds--
    }
    for (const [path, times] of ms) {
      assert.ok(median(times) < 1000, `half of the answers of ${path} took more than ${median(times).toFixed(0)} ms`)
    }
    assert.match(await firstPicture(port, visitor), /^data: \{.*\}$/m)
    assert.equal((await ask(port, visitor, '/health/live')).status, 200)
  })
}
