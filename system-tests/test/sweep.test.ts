/** `make sweep` as a user runs it, while every process that can be killed is killed in the middle of it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { type PokeApiServer, servePokeApi } from '@poke-api-pipeline/dev/poke-api-server'
import { COUNTS_OF_A_SWEEP } from '@poke-api-pipeline/dev/testing/counts-of-a-sweep'
import { busyness } from '../busyness.ts'
import { DevCommand } from '../dev-command.ts'

const IN_ALL = 2116

describe('make sweep', () => {
  let dir: string
  const apis: Pick<PokeApiServer, 'close'>[] = []
  const commands: DevCommand[] = []
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'sweep-'))
  })
  after(async () => {
    for (const command of commands) await command.kill()
    for (const api of apis) await api.close()
    await rm(dir, { recursive: true, force: true })
  })

  test('counts every Pokémon once, though the producer and then the consumer are killed in the middle', async () => {
    const api = await pausingApi(300)
    const sweep = await run('sweep', dir, api.url)
    await sweep.counted((types) => types > 200)
    const killed = await sweep.killService('producer')
    assert.ok(killed < IN_ALL / 2, `the producer was killed when ${killed} of ${IN_ALL} were counted`)
    api.answerUpTo(600)
    await sweep.counted((types) => types > killed + 200)
    const again = await sweep.killService('consumer')
    assert.ok(again < IN_ALL, `the consumer was killed when ${again} of ${IN_ALL} were counted`)
    api.answerUpTo(Number.POSITIVE_INFINITY)

    assert.equal(await sweep.exitCode, 0, sweep.output)
    assert.equal(await readFile(sweep.outputFile, 'utf8'), documentOf(1))
    assert.match(sweep.output, /producer +was ended by SIGKILL; it is started again/)
    assert.match(sweep.output, /consumer +was ended by SIGKILL; it is started again/)
    assert.match(sweep.output, /^water +192 +█+/m)
    assert.match(sweep.output, /^[\d,]+ Pokémon, of 18 types$/m)
    assert.match(sweep.output, /the counts rose by exactly the 2,116 types of the 1,351 Pokémon captured/)
    await sweep.nothingIsLeft()
  })

  test('starts a new sweep after a finished one, and goes on with its sweep after it was killed itself', async () => {
    const killed = await run('sweep', dir, (await pausingApi(300)).url)
    await killed.counted((types) => types > IN_ALL + 200)
    const start = await run('start')
    assert.equal(await start.exitCode, 1)
    assert.match(
      start.output,
      /make start was not started: make sweep is already running here \(process \d+, since .*\)\.\nStop it with Ctrl-C first/,
    )
    assert.ok((await killed.kill()) < 2 * IN_ALL)
    await killed.nothingIsLeft()

    const next = await run('sweep')
    await next.counted((types) => types === 2 * IN_ALL)
    assert.equal(await next.exitCode, 0, next.output)
    assert.match(next.output, /continues where it was stopped/)
    assert.equal(await readFile(next.outputFile, 'utf8'), documentOf(2))
    await next.nothingIsLeft()
  })

  test('reports the difference and fails if more was counted than captured', async () => {
    const api = await pausingApi(300)
    const sweep = await run('sweep', dir, api.url)
    await sweep.counted((types) => types > 2 * IN_ALL)
    const store = new DatabaseSync(join(dir, 'data/dev/type-counts.db'), { timeout: 5000 })
    store.exec(
      "UPDATE counts SET count = count + 1 WHERE type = 'ice' AND partition_id = (SELECT min(partition_id) FROM counts WHERE type = 'ice')",
    )
    store.close()
    api.answerUpTo(Number.POSITIVE_INFINITY)
    assert.equal(await sweep.exitCode, 1, sweep.output)
    assert.match(
      sweep.output,
      /The counts did not rise by the types in the topic:\ntype +captured +counted +difference\nice +69 +70 +\+1\n/,
    )
    await sweep.nothingIsLeft()
  })

  test('ends without Pokémon that cannot be obtained, names them with the reasons, and fails', async () => {
    const whole = await servePokeApi({ first: 12 })
    apis.push(whole)
    const broken = createServer(async (request, response) => {
      if (request.url === '/api/v2/pokemon/7/') return response.end('{"id":7,"name":"squirtle","types":[]}')
      if (request.url === '/api/v2/pokemon/9/') return response.writeHead(500).end()
      response.end(await (await fetch(new URL(request.url ?? '', whole.url))).text())
    }).listen(0, '127.0.0.1')
    await once(broken, 'listening')
    const sweep = await run('sweep', join(dir, 'incomplete'), `http://127.0.0.1:${(broken.address() as AddressInfo).port}/api/v2`)
    await sweep.counted((types) => types > 0)
    assert.equal(await sweep.exitCode, 1, sweep.output)
    broken.close()
    broken.closeAllConnections()
    assert.match(sweep.output, /of the 10 Pokémon captured\.\n/)
    assert.match(sweep.output, /2 Pokémon are missing from the counts.*:\n {2}#7: types is empty\n {2}#9: answered with status 500\n$/)
    await sweep.nothingIsLeft()
  })

  test('stops within ten seconds when it is asked to, and leaves no process behind', async () => {
    const sweep = await run('sweep', dir, (await pausingApi(300)).url)
    await sweep.counted((types) => types > 3 * IN_ALL + 1)
    const asked = performance.now()
    sweep.signal('SIGTERM')
    assert.equal(await sweep.exitCode, 1, sweep.output)
    const took = (performance.now() - asked) / busyness()
    assert.ok(took < 10_000, `${took} ms`)
    assert.match(sweep.output, /SIGTERM: stopping.*The next make sweep continues from here/)
    await sweep.nothingIsLeft()
  })

  test('make demo-kill kills both services, reports each kill, and ends with the result of verify', async () => {
    const api = await pausingApi(300)
    const demo = await run('sweep', join(dir, 'demo'), api.url, '--kills', '1')
    await demo.counted((types) => types > 0)
    await demo.said(/^SIGKILL +to the producer/m)
    api.answerUpTo(600)
    await demo.said(/^SIGKILL +to the consumer/m)
    api.answerUpTo(Number.POSITIVE_INFINITY)
    assert.equal(await demo.exitCode, 0, demo.output)
    assert.match(demo.output, /^SIGKILL +to the producer, 1 of 1, when [\d,]+ types were counted\n(.*\n)*SIGKILL +to the consumer, 1 of 1/m)
    assert.match(
      demo.output,
      /The producer was killed once\.\nThe consumer was killed once\.\n(.*\n)*verify: equal\. .* 18 types agree\.\n$/,
    )
    await demo.nothingIsLeft()
  })

  /** A PokeAPI that answers so many requests and holds the others, so that a sweep cannot end before the test allows it, however slow the machine is. */
  async function pausingApi(first: number): Promise<{ readonly url: string; answerUpTo(requests: number): void }> {
    const whole = await servePokeApi()
    let [answered, limit] = [0, first]
    const server = createServer(async (request, response) => {
      while (answered >= limit && !response.destroyed) await pause(20)
      if (response.destroyed) return
      answered++
      const answer = await fetch(new URL(request.url ?? '', whole.url))
      response.writeHead(answer.status).end(await answer.text())
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    apis.push(whole, {
      async close() {
        server.close()
        server.closeAllConnections()
      },
    })
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v2`,
      answerUpTo(requests) {
        limit = requests
      },
    }
  }

  async function run(script: 'sweep' | 'start', folder = dir, apiUrl: string | null = null, ...options: string[]): Promise<DevCommand> {
    // Each test has an API of its own, so that nothing comes from the cache.
    const api = await servePokeApi()
    apis.push(api)
    const command = new DevCommand(
      script,
      folder,
      { POKE_API_URL: apiUrl ?? api.url, POKE_API_MAX_RATE: '2000', KAFKA_SESSION_TIMEOUT: '6s' },
      options,
    )
    commands.push(command)
    return command
  }
})

/** The bytes of the whole file after so many sweeps. */
function documentOf(sweeps: number): string {
  const types = Object.fromEntries(Object.entries(COUNTS_OF_A_SWEEP).map(([type, count]) => [type, sweeps * count]))
  return `${JSON.stringify({ types })}\n`
}
