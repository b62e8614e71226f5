/** The bounded main job as a user runs it: `make sweep`, with everything that can die dying in the middle of it. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type PokeApiServer, servePokeApi } from 'dev/poke-api-server.ts'
import { COUNTS_OF_A_SWEEP } from 'dev/test/counts-of-a-sweep.ts'

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))
const IN_ALL = 2116

describe('make sweep', () => {
  let dir: string
  const apis: PokeApiServer[] = []
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'sweep-'))
  })
  after(async () => {
    for (const api of apis) await api.close()
    await rm(dir, { recursive: true, force: true })
  })

  test('counts every Pokémon once, though the producer and then the consumer are killed in the middle', async () => {
    const sweep = await run('dev/sweep.ts')
    await sweep.counted((types) => types > 200)
    const killed = await sweep.killService('producer')
    assert.ok(killed < IN_ALL / 2, `the producer was killed when ${killed} of ${IN_ALL} were counted`)
    await sweep.counted((types) => types > killed + 200)
    const again = await sweep.killService('consumer')
    assert.ok(again < IN_ALL, `the consumer was killed when ${again} of ${IN_ALL} were counted`)

    assert.equal(await sweep.exitCode, 0, sweep.output)
    assert.equal(await readFile(sweep.outputFile, 'utf8'), documentOf(1))
    assert.match(sweep.output, /producer +was ended by SIGKILL; it starts again/)
    assert.match(sweep.output, /consumer +was ended by SIGKILL; it starts again/)
    assert.match(sweep.output, /^water +192 +█+/m)
    assert.match(sweep.output, /^in all +2,116$/m)
    assert.match(sweep.output, /the counts rose by exactly the 2116 types of the 1351 Pokémon captured/)
    await sweep.nothingIsLeft()
  })

  test('starts anew after a finished one, and goes on after it was killed itself', async () => {
    const killed = await run('dev/sweep.ts')
    await killed.counted((types) => types > IN_ALL + 200)
    const start = await run('dev/start.ts')
    assert.equal(await start.exitCode, 1)
    assert.match(start.output, /make sweep is running here already \(process \d+, since .*\)\.\nmake start joins nothing/)
    assert.ok((await killed.kill()) < 2 * IN_ALL)
    await killed.nothingIsLeft()

    const next = await run('dev/sweep.ts')
    await next.counted((types) => types === 2 * IN_ALL)
    assert.equal(await next.exitCode, 0, next.output)
    assert.match(next.output, /goes on where it was stopped/)
    assert.equal(await readFile(next.outputFile, 'utf8'), documentOf(2))
    await next.nothingIsLeft()
  })

  test('tells the difference and fails where more was counted than captured', async () => {
    const sweep = await run('dev/sweep.ts')
    await sweep.counted((types) => types > 2 * IN_ALL)
    const store = new DatabaseSync(join(dir, 'data/dev/type-counts.db'), { timeout: 5000 })
    store.exec(
      "UPDATE counts SET count = count + 1 WHERE type = 'ice' AND partition_id = (SELECT min(partition_id) FROM counts WHERE type = 'ice')",
    )
    store.close()
    assert.equal(await sweep.exitCode, 1, sweep.output)
    assert.match(sweep.output, /The counts did not rise by what is in the topic:\ntype +captured +counted +difference\nice +69 +70 +\+1\n/)
    await sweep.nothingIsLeft()
  })

  test('stops when it is asked to, in order and within ten seconds, and leaves nothing running', async () => {
    const sweep = await run('dev/sweep.ts')
    await sweep.counted((types) => types > 3 * IN_ALL + 1)
    const asked = performance.now()
    sweep.signal('SIGTERM')
    assert.equal(await sweep.exitCode, 1, sweep.output)
    assert.ok(performance.now() - asked < 10_000)
    assert.match(sweep.output, /SIGTERM: stopping.*The next make sweep goes on from here/)
    await sweep.nothingIsLeft()
  })

  /** Runs a command of the workspace `dev` on data of its own, slowly enough to hit the middle. */
  async function run(script: string): Promise<Command> {
    // One of its own for each, so that nothing comes from the cache and the rate holds.
    const api = await servePokeApi()
    apis.push(api)
    const env = {
      // What the user has set, in the environment or in .env, is not for this test.
      ...Object.fromEntries(
        ['KAFKA_BROKERS', 'KAFKA_TOPIC', 'STORE_URL', 'DATA_DIR', 'HTTP_PORT', 'CAPTURE_CONCURRENCY'].map((name) => [name, '']),
      ),
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      JAVA_HOME: process.env.JAVA_HOME,
      OUTPUT_FILE: join(dir, 'type-counts.json'),
      POKE_API_URL: api.url,
      POKE_API_MAX_RATE: '200',
    }
    return new Command(script, join(dir, 'data'), env)
  }
})

class Command {
  readonly outputFile: string
  readonly exitCode: Promise<number | null>
  output = ''
  readonly #data: string
  readonly #child: ChildProcess
  /** Every process that was seen to belong to it. */
  readonly #processes = new Set<number>()

  constructor(script: string, data: string, env: NodeJS.ProcessEnv) {
    this.#data = data
    this.outputFile = env.OUTPUT_FILE ?? ''
    this.#child = spawn(process.execPath, [join(PROJECT, script), '--data', data], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
    }
    this.exitCode = once(this.#child, 'close').then(([code]) => code)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Waits until the file counts so many types. @returns how many it counts then */
  async counted(enough: (types: number) => boolean): Promise<number> {
    for (;;) {
      const types = await this.#typesCounted()
      if (enough(types)) {
        for (const pid of Object.values(await this.#running())) this.#processes.add(pid)
        return types
      }
      assert.equal(this.#child.exitCode, null, `it ended before enough was counted:\n${this.output}`)
      await pause(20)
    }
  }

  /** Kills a service with SIGKILL. @returns how many types the file counted before */
  async killService(name: string): Promise<number> {
    const types = await this.#typesCounted()
    const pid = (await this.#running())[name]
    assert.ok(pid, `there is no ${name} to kill`)
    process.kill(pid, 'SIGKILL')
    return types
  }

  /** Kills the command itself with SIGKILL. @returns how many types the file counted before */
  async kill(): Promise<number> {
    const types = await this.#typesCounted()
    this.signal('SIGKILL')
    await this.exitCode
    return types
  }

  /** Waits until all of its processes are gone; the test's own time limit is the bound. */
  async nothingIsLeft(): Promise<void> {
    assert.ok(this.#processes.size > 0)
    while ([...this.#processes].some(isAlive)) await pause(20)
  }

  async #typesCounted(): Promise<number> {
    const text = await readFile(this.outputFile, 'utf8').catch(() => '{"types":{}}')
    return Object.values((JSON.parse(text) as { types: Record<string, number> }).types).reduce((sum, count) => sum + count, 0)
  }

  async #running(): Promise<Record<string, number>> {
    const { processes } = JSON.parse(await readFile(join(this.#data, 'running.json'), 'utf8')) as { processes: Record<string, number> }
    return processes
  }
}

/** The whole file after so many sweeps, byte for byte. */
function documentOf(sweeps: number): string {
  const types = Object.fromEntries(Object.entries(COUNTS_OF_A_SWEEP).map(([type, count]) => [type, sweeps * count]))
  return `${JSON.stringify({ types })}\n`
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
