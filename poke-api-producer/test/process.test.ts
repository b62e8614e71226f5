/** The producer as a process: what its user sees where something is wrong, and how it ends. No broker runs here. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { RunningService, type RunOptions } from '@poke-api-pipeline/service-kit/testing'
import { bodyOf, LocalPokeApi, ok } from './local-poke-api.ts'
import { LocalProxy } from './local-proxy.ts'
import { pokemon } from './pokemon.ts'

const PROGRAM = fileURLToPath(new URL('../src/cli.ts', import.meta.url))

/** A port of this machine that this process holds; it closes every connection at once. */
async function deadPort(t: TestContext): Promise<number> {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

/** Removed at the end, when every service in them has ended. */
const folders: string[] = []
after(() => {
  for (const each of folders) rmSync(each, { recursive: true, force: true })
})

async function start(
  t: TestContext,
  env: Record<string, string> = {},
  options: RunOptions = {},
): Promise<{ service: RunningService; folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'producer-'))
  folders.push(folder)
  const port = await deadPort(t)
  const defaults = {
    KAFKA_BROKERS: `127.0.0.1:${port}`,
    POKE_API_URL: `http://127.0.0.1:${port}`,
    DATA_DIR: join(folder, 'data'),
    HTTP_PORT: '0',
  }
  return { service: new RunningService(t, PROGRAM, { cwd: folder, channel: true, ...options, env: { ...defaults, ...env } }), folder }
}

test('an unknown option: usage, exit code 64', async (t) => {
  const { service } = await start(t, {}, { args: ['--moed', 'sweep'] })
  assert.equal(await service.ends(), 64)
  assert.match(service.error, /^poke-api-producer: Unknown option '--moed'/)
  assert.match(service.error, /Usage: poke-api-producer \[--mode random\|sweep\]/)
})

test('a wrong value of an option: exit code 64', async (t) => {
  const { service } = await start(t, {}, { args: ['--mode', 'all'] })
  assert.equal(await service.ends(), 64)
  assert.match(service.error, /--mode is "all"; accepted: random or sweep/)
})

test('wrong settings: one message, exit code 78, and no file is created', async (t) => {
  const { service, folder } = await start(t, { CAPTURE_INTERVAL: 'often', KAFKA_BROKERS: 'kafka' })
  assert.equal(await service.ends(), 78)
  assert.equal(
    service.error,
    'poke-api-producer: 2 settings are wrong:\n' +
      '  KAFKA_BROKERS is "kafka"; accepted: host:port, several separated by commas\n' +
      '  CAPTURE_INTERVAL is "often"; accepted: a duration with its unit (ms, s, m, h, d), from 0ms to 7d\n',
  )
  assert.equal(existsSync(join(folder, 'data')), false)
})

test('check-api says whether PokeAPI answers: exit code 0, or 75 and why', async (t) => {
  const api = await LocalPokeApi.start(t)
  api.answer('pokemon/1/', ok(bodyOf(pokemon(1))))
  const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, 'check-api'], { env: { POKE_API_URL: api.url } })
  assert.equal(stdout, `PokeAPI answers at ${api.url}.\n`)
  const { service: away, folder } = await start(t, {}, { args: ['check-api'] })
  assert.equal(await away.ends(), 75)
  assert.deepEqual(readdirSync(folder), [], 'it leaves nothing in the folder in which it is started')
  assert.match(away.error, /^poke-api-producer: PokeAPI at http:\/\/127\.0\.0\.1:\d+\/pokemon\/1\/ could not be reached/)
})

test('a proxy of the environment is used, and its password is shown nowhere', async (t) => {
  const proxy = await LocalProxy.start(t)
  proxy.refusal = 407
  const env = { POKE_API_URL: 'http://pokeapi.example/api/v2', http_proxy: `http://ash:pika%40chu@127.0.0.1:${proxy.port}` }
  const { service: check } = await start(t, env, { args: ['check-api'] })
  assert.equal(await check.ends(), 75)
  assert.match(check.error, /the proxy http:\/\/127\.0\.0\.1:\d+ asks for a user and a password/)
  const { service } = await start(t, env)
  await service.says(/^captures .* from http:\/\/pokeapi\.example\/api\/v2 through the proxy http:\/\/127\.0\.0\.1:\d+ into/)
  await service.says(/the proxy http:\/\/127\.0\.0\.1:\d+ asks for a user and a password/)
  const port = await service.listens()
  const ready = await (await fetch(`http://127.0.0.1:${port}/health/ready`)).text()
  assert.match(ready, /poke-api: PokeAPI at .* the proxy http:/)
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 0)
  for (const shown of [check.error, ready, JSON.stringify(service.lines), service.error]) assert.doesNotMatch(shown, /pika/)
  assert.ok(proxy.asked.includes('GET http://pokeapi.example/api/v2/pokemon/1/'))
})

test('a misspelt setting causes a warning', async (t) => {
  const { service } = await start(t, { CAPTURE_INTERVALL: '1s' })
  assert.equal((await service.says(/was CAPTURE_INTERVAL meant\?$/)).level, 'warn')
})

test('a taken port: host, port and the setting to change, exit code 73', async (t) => {
  const taken = await deadPort(t)
  const { service } = await start(t, { HTTP_PORT: String(taken) })
  assert.equal(await service.ends(), 73)
  const line = service.lines.at(-1)
  assert.deepEqual([line?.level, line?.code, line?.err], ['fatal', 'http/port-taken', undefined])
  assert.match(line?.msg ?? '', new RegExp(`^port ${taken} of 127\\.0\\.0\\.1 is taken by another program.*HTTP_PORT`))
})

test('a data folder that cannot be created: its name and the setting, exit code 73', async (t) => {
  const { service } = await start(t, { DATA_DIR: `${PROGRAM}/data` })
  assert.equal(await service.ends(), 73)
  assert.match(service.lines.at(-1)?.msg ?? '', /cli\.ts\/data.*DATA_DIR/)
})

test('a second producer on the same outbox: exit code 75', async (t) => {
  const { service, folder } = await start(t)
  await service.says(/^captures Pokémon at random/)
  const { service: second } = await start(t, { DATA_DIR: join(folder, 'data') })
  assert.equal(await second.ends(), 75)
  assert.match(
    second.lines.at(-1)?.msg ?? '',
    /is in use by another process: end that process, or give this one another folder with DATA_DIR$/,
  )
})

test('without Kafka captures wait, readiness says why, and SIGTERM ends it in order', async (t) => {
  const api = await LocalPokeApi.start(t)
  api.answer('pokemon?limit=100000', (_, response) => response.end('{"count":0,"next":null,"results":[]}'))
  const { service } = await start(t, { POKE_API_URL: api.url })
  const port = await service.listens()
  await service.says(/^Kafka at .* cannot be reached|^Kafka at .* did not answer/)
  const live = await fetch(`http://127.0.0.1:${port}/health/live`)
  assert.equal(live.status, 200)
  const ready = await fetch(`http://127.0.0.1:${port}/health/ready`)
  assert.equal(ready.status, 503)
  const { reasons } = (await ready.json()) as { reasons: string[] }
  assert.ok(
    reasons.some((reason) => reason.startsWith('kafka: Kafka at 127.0.0.1:')),
    reasons.join('\n'),
  )
  assert.match(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text(), /^poke_publish_failures_total\{kind="[a-z-]+"\} [1-9]/m)
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 0)
  assert.equal(service.lines.at(-1)?.msg, 'stopped')
})

test('stops in order when its parent process has ended', async (t) => {
  const { service } = await start(t)
  await service.says(/^captures Pokémon at random/)
  service.child.disconnect()
  assert.equal(await service.ends(), 0)
  assert.equal(service.lines.at(-1)?.msg, 'stopped')
})
