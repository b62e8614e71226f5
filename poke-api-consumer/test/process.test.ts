/** The consumer as a process without a broker: its messages, exit codes and readiness if something is wrong, and how it ends. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { RunningService, type RunOptions } from '@poke-api-pipeline/service-kit/testing'

const PROGRAM = fileURLToPath(new URL('../src/cli.ts', import.meta.url))

/** A port of this machine that this process holds; it closes every connection at once. */
async function deadPort(t: TestContext): Promise<number> {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

/** Folders of the services, removed at the end. */
const folders: string[] = []
after(() => {
  for (const each of folders) rmSync(each, { recursive: true, force: true })
})

async function start(
  t: TestContext,
  env: Record<string, string> = {},
  options: RunOptions = {},
): Promise<{ service: RunningService; folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'consumer-'))
  folders.push(folder)
  const defaults = {
    KAFKA_BROKERS: `127.0.0.1:${await deadPort(t)}`,
    STORE_URL: 'sqlite:data/counts.db',
    OUTPUT_FILE: 'out/type-counts.json',
    HTTP_PORT: '0',
  }
  return { service: new RunningService(t, PROGRAM, { cwd: folder, channel: true, ...options, env: { ...defaults, ...env } }), folder }
}

async function reasonsOf(port: number): Promise<string[]> {
  const response = await fetch(`http://127.0.0.1:${port}/health/ready`)
  return ((await response.json()) as { reasons: string[] }).reasons
}

test('a command line that is not understood: usage, exit code 64', async (t) => {
  const { service } = await start(t, {}, { args: ['cuonts'] })
  assert.equal(await service.ends(), 64)
  assert.match(service.error, /^poke-api-consumer: there is no command "cuonts"\n\nUsage: poke-api-consumer/)
})

test('wrong settings: one message without the password, exit code 78, and nothing is made', async (t) => {
  const { service, folder } = await start(t, { STORE_URL: 'mysql://ash:hunter2@db/poke', ON_DATA_LOSS: 'ignore' })
  assert.equal(await service.ends(), 78)
  assert.equal(
    service.error,
    'poke-api-consumer: 2 settings are wrong:\n' +
      '  STORE_URL is "***" (it does not begin with sqlite: or postgres: or postgresql:); accepted: sqlite:<file> or postgres://user@host:port/database\n' +
      '  ON_DATA_LOSS is "ignore"; accepted: stop or continue\n',
  )
  assert.deepEqual(existsSync(join(folder, 'data')), false)
})

test('a taken port: host, port and the setting to change, exit code 73', async (t) => {
  const taken = await deadPort(t)
  const { service } = await start(t, { HTTP_PORT: String(taken) })
  assert.equal(await service.ends(), 73)
  assert.match(service.lines.at(-1)?.msg ?? '', new RegExp(`^port ${taken} of 127\\.0\\.0\\.1 is taken by another program.*HTTP_PORT`))
})

test('a store that cannot be made ends it with its name, exit code 73', async (t) => {
  const { service } = await start(t, { STORE_URL: `sqlite:${PROGRAM}/counts.db` })
  assert.equal(await service.ends(), 73)
  const line = service.lines.at(-1)
  assert.deepEqual([line?.level, line?.code, line?.err], ['fatal', 'store/unusable', undefined])
  assert.match(line?.msg ?? '', /cli\.ts\/counts\.db/)
})

test('the service waits for a database that cannot be reached, readiness says so without the password, and SIGTERM ends it in order', async (t) => {
  const { service } = await start(t, { STORE_URL: `postgres://ash:hunter2@127.0.0.1:${await deadPort(t)}/poke` })
  const port = await service.listens()
  await service.says(/^the store postgres:/)
  const [reason] = (await reasonsOf(port)).filter((each) => each.startsWith('store: '))
  assert.match(reason ?? '', /^store: the store postgres:\/\//)
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 0)
  assert.doesNotMatch(JSON.stringify(service.lines), /hunter2/)
})

test('no HTTP answer and no log line has a password, or the path of a file with one', async (t) => {
  const secrets = mkdtempSync(join(tmpdir(), 'secrets-'))
  folders.push(secrets)
  const file = join(secrets, 'store-password')
  writeFileSync(file, 'hunter2-of-the-file')
  const url = `postgres://ash:hunter2%40of%2Fthe%23url@127.0.0.1:${await deadPort(t)}/poke?sslpassword=hunter2-of-the-query`
  const { service } = await start(t, { STORE_URL: url, STORE_PASSWORD_FILE: file })
  const port = await service.listens()
  await service.says(/^the store postgres:/)
  rmSync(file)
  await service.says(/^the file that STORE_PASSWORD_FILE names cannot be read any more \(ENOENT\)/)
  const paths = ['/', '/health/ready', '/health/live', '/metrics', '/api/type-counts', '/api/partitions', '/api/dead-letters']
  const answers = await Promise.all(paths.map(async (path) => await (await fetch(`http://127.0.0.1:${port}${path}`)).text()))
  assert.match(answers[1] ?? '', /store: the file that STORE_PASSWORD_FILE names cannot be read any more/)
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 0)
  const said = [...answers, JSON.stringify(service.lines), service.error].join('\n')
  assert.doesNotMatch(said, /hunter2|of.the.url|secrets-/)
})

test('an output path that is not a file ends the service before it counts, and is not replaced: exit code 78', async (t) => {
  const { service } = await start(t, { OUTPUT_FILE: '/dev/null' })
  assert.equal(await service.ends(), 78)
  const line = service.lines.at(-1)
  assert.deepEqual([line?.level, line?.code], ['fatal', 'output-file/not-a-file'])
  assert.match(line?.msg ?? '', /^OUTPUT_FILE \/dev\/null is a device, and was not replaced/)
  assert.ok(statSync('/dev/null').isCharacterDevice())
})

test('without Kafka no file is written, because the group may count into another store; readiness says why, and the page answers', async (t) => {
  const { service, folder } = await start(t)
  const port = await service.listens()
  await service.says(/^Kafka at 127\.0\.0\.1:\d+ /)
  assert.match((await reasonsOf(port)).join('\n'), /^kafka: Kafka at 127\.0\.0\.1:/m)
  assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 200)
  assert.match(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text(), /^poke_partitions_owned 0$/m)
  service.child.kill('SIGINT')
  assert.equal(await service.ends(), 0)
  assert.equal(service.lines.at(-1)?.msg, 'stopped')
  assert.deepEqual(existsSync(join(folder, 'out')), false)
})
