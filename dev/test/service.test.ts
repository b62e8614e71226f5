/** A service runs in a process of its own, and is started again when it ends. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { lastLines } from '../log-file.ts'
import { Service, type ServiceEvent } from '../service.ts'

interface Running {
  readonly service: Service
  readonly logFile: string
  /** The next event of this kind, seen or still to come. */
  next(kind: ServiceEvent['kind']): Promise<ServiceEvent>
}

async function runService(t: TestContext, program: string, env: NodeJS.ProcessEnv = {}): Promise<Running> {
  const dir = await mkdtemp(join(tmpdir(), 'service-'))
  const script = join(dir, 'program.mjs')
  await writeFile(script, program)
  const events: ServiceEvent[] = []
  const waiting = new Set<() => void>()
  const logFile = join(dir, 'service.log')
  const onEvent = (event: ServiceEvent) => {
    events.push(event)
    for (const look of waiting) look()
  }
  const service = new Service({ name: 'program', script, env: async () => ({ ...process.env, ...env }), logFile, onEvent })
  t.after(async () => {
    await service.stop(0)
    await rm(dir, { recursive: true })
  })
  service.start()
  return {
    service,
    logFile,
    next: (kind) =>
      new Promise((resolve) => {
        const look = () => {
          const index = events.findIndex((event) => event.kind === kind)
          if (index === -1) return
          waiting.delete(look)
          resolve(events.splice(index, 1)[0] as ServiceEvent)
        }
        waiting.add(look)
        look()
      }),
  }
}

const LISTENS = "process.send({ type: 'listening', port: 4711 }); setInterval(() => {}, 1000)\n"

describe('a service', () => {
  test('reports its port, and ends when it is asked to', async (t) => {
    const { service, next } = await runService(t, `process.on('SIGTERM', () => process.exit(0)); ${LISTENS}`)
    assert.partialDeepStrictEqual(await next('listening'), { port: 4711 })
    assert.equal(service.url, 'http://127.0.0.1:4711')
    assert.ok(service.pid)
    await service.stop(10_000)
    assert.deepEqual([service.pid, service.url], [null, null])
  })

  test('that does not end when it is asked to is killed', async (t) => {
    const { service, next } = await runService(t, `process.on('SIGTERM', () => {}); ${LISTENS}`)
    await next('listening')
    await service.stop(50)
    assert.equal(service.pid, null)
  })

  test('that is killed starts again', async (t) => {
    const { service, next } = await runService(t, LISTENS)
    await next('listening')
    const first = service.pid
    process.kill(first ?? 0, 'SIGKILL')
    assert.partialDeepStrictEqual(await next('died'), { how: 'was ended by SIGKILL', lastLines: [], again: 250 })
    await next('listening')
    assert.notEqual(service.pid, first)
  })

  test('that fails repeatedly is started after growing pauses, and its last message of this start is reported', async (t) => {
    const words = '{"time":"2026-08-08T10:11:12.000Z","level":"fatal","msg":"the outbox\\\\u001b[31m is away"}'
    const { next } = await runService(t, `console.log('${words}'); process.exit(70)`)
    assert.partialDeepStrictEqual(await next('died'), {
      how: 'ended with exit code 70',
      lastLines: [String.raw`10:11:12 fatal the outbox\u001b[31m is away`],
      again: 250,
    })
    assert.partialDeepStrictEqual(await next('died'), { again: 500 })
  })

  test('that cannot run with its settings is not started again', async (t) => {
    const { service, next } = await runService(t, 'console.error(\'HTTP_PORT is "x"\'); process.exit(78)')
    assert.partialDeepStrictEqual(await next('fatal'), { exitCode: 78, lastLines: ['HTTP_PORT is "x"'] })
    assert.equal(service.pid, null)
  })

  test('that cannot open its port or create its folder is started once more', async (t) => {
    const { next } = await runService(t, 'process.exit(73)')
    await next('died')
    assert.partialDeepStrictEqual(await next('fatal'), { exitCode: 73 })
  })

  test('that another process has asked to end starts again', async (t) => {
    const { service, next } = await runService(t, `process.on('SIGTERM', () => process.exit(0)); ${LISTENS}`)
    await next('listening')
    process.kill(service.pid ?? 0, 'SIGTERM')
    assert.partialDeepStrictEqual(await next('died'), { how: 'ended with exit code 0' })
    await next('listening')
  })

  test('that has finished its work is not started again', async (t) => {
    const { next } = await runService(
      t,
      "process.send({ type: 'sweep-finished', captured: 1, types: { ice: 1 }, leftOut: { count: 0, lines: [] } }, () => process.exit(0))",
    )
    assert.partialDeepStrictEqual(await next('swept'), { captured: 1, types: { ice: 1 }, leftOut: { count: 0, lines: [] } })
    await next('finished')
  })

  test('that has finished its work except for missing parts is not started again', async (t) => {
    const leftOut = { count: 1, lines: ['#7: types is empty'] }
    const message = JSON.stringify({ type: 'sweep-finished', captured: 1, types: { ice: 1 }, leftOut })
    const { next } = await runService(t, `process.send(${message}, () => process.exit(1))`)
    assert.partialDeepStrictEqual(await next('swept'), { captured: 1, leftOut })
    await next('finished')
  })

  test('notices that its parent process has ended', async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'service-'))
    t.after(() => rm(dir, { recursive: true }))
    const module = new URL('../service.ts', import.meta.url).href
    await writeFile(join(dir, 'program.mjs'), `${LISTENS} process.on('disconnect', () => { console.log('alone'); process.exit(0) })`)
    const starter =
      `const { Service } = await import(${JSON.stringify(module)})\n` +
      `const options = { name: 'p', script: ${JSON.stringify(join(dir, 'program.mjs'))}, env: async () => process.env, logFile: ${JSON.stringify(join(dir, 'log'))} }\n` +
      'new Service({ ...options, onEvent: (event) => console.log(event.kind, event.service.pid) }).start()'
    const child = spawn(process.execPath, ['--input-type=module', '--eval', starter], { stdio: ['ignore', 'pipe', 'inherit'] })
    let said = ''
    child.stdout.on('data', (chunk) => (said += chunk))
    while (!said.includes('listening')) await once(child.stdout, 'data')
    const pid = Number(/started (\d+)/.exec(said)?.[1])
    child.kill('SIGKILL')
    await gone(pid)
    assert.deepEqual(lastLines(join(dir, 'log'), 1), ['alone'])
  })
})

async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0)
    } catch {
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
