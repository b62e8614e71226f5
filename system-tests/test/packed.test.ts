/** What `npm pack` makes of `packages/kafka-reader`, installed into an empty folder, as somebody who has nothing but the archive does. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { before, describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Admin, Producer } from '@platformatic/kafka'
import { serversOfFile } from '../servers.ts'

const PROJECT = fileURLToPath(new URL('../../', import.meta.url))
const PACKAGE = '@poke-api-pipeline/kafka-reader'
const TSC = join(PROJECT, 'node_modules', 'typescript', 'bin', 'tsc')
const RECORDS = 100
const LIMIT = { timeout: 3 * 60_000 }
const servers = serversOfFile('packed')

describe('the packed reader', LIMIT, () => {
  const installed = join(servers.dir, 'installed')
  const folder = join(installed, 'node_modules', PACKAGE)

  before(async () => {
    const archive = pack(join(servers.dir, 'copy'))
    mkdirSync(installed)
    npm(['install', '--prefer-offline', archive], installed)
    await fill('packed')
  })

  test('is JavaScript with types, and brings nothing along that it does not need', () => {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    assert.deepEqual(Object.keys(manifest.dependencies).sort(), ['@node-rs/crc32', '@platformatic/kafka'])
    for (const file of Object.values(manifest.exports['.'])) assert.ok(existsSync(join(folder, String(file))), String(file))
    for (const other of ['fastify', 'pino', 'prom-client', '@poke-api-pipeline/service-kit'])
      assert.ok(!existsSync(join(installed, 'node_modules', other)), other)
    for (const file of ['LICENSE', 'README.md']) assert.ok(existsSync(join(folder, file)), file)
  })

  test('tells TypeScript what is wrong', () => {
    writeFileSync(
      join(installed, 'use.mts'),
      `import { readTopic } from '${PACKAGE}'
       const load = () => null
       await readTopic({ brokers: ['x:9092'], topic: 't', groupId: 'g', load, save: ({ to }) => to.offset > 0 }, AbortSignal.abort())
       // @ts-expect-error
       await readTopic({ brokers: 'x:9092', topic: 't', groupId: 'g', load, save: () => true }, AbortSignal.abort())`,
    )
    const roots = ['--typeRoots', join(PROJECT, 'node_modules', '@types'), '--types', 'node']
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--target', 'esnext', '--module', 'nodenext', ...roots]
    execFileSync(process.execPath, [TSC, ...options, 'use.mts'], { cwd: installed, encoding: 'utf8' })
  })

  test('runs the program of its README', async (t) => {
    writeFileSync(join(installed, 'keep-values.mjs'), programs()[0] as string)
    const file = join(installed, 'values.db')
    await runUntil(
      t,
      process.execPath,
      ['keep-values.mjs', servers.kafka.brokers, 'packed'],
      () => rows(file, 'SELECT value FROM kept').length > 0,
    )
    assert.deepEqual(rows(file, 'SELECT count(*) AS kept, count(DISTINCT value) AS different FROM kept'), [
      { kept: RECORDS, different: RECORDS },
    ])
  })

  test('starts at the end of the log with the lines of its README, and reads what comes then', async (t) => {
    const [program, , startAtEnd] = programs() as [string, string, string]
    writeFileSync(
      join(installed, 'from-the-end.mjs'),
      program.replace('await readTopic', `${startAtEnd}\nawait readTopic`).replaceAll('values', 'ends'),
    )
    const file = join(installed, 'ends.db')
    const ends = () => rows(file, 'SELECT next_offset AS offset FROM positions WHERE next_offset IS NOT NULL')
    let written: Promise<void> | null = null
    const args = ['from-the-end.mjs', servers.kafka.brokers, 'packed-ends']
    await fill('packed-ends')
    await runUntil(t, process.execPath, args, () => {
      if (written === null && ends().length > 0) {
        assert.deepEqual(ends(), [{ offset: RECORDS }])
        written = write('packed-ends', 'a later value', 1)
      }
      return rows(file, 'SELECT value FROM kept').length > 0
    })
    await written
    assert.deepEqual(rows(file, 'SELECT value FROM kept'), [{ value: 'a later value 0' }])
  })

  for (const [name, program] of nodes()) {
    test(`runs the example on ${name}`, { skip: program === null && 'TEST_OLDEST_NODE names none' }, async (t) => {
      const file = join(installed, `${name}.db`)
      const counts = () => rows(file, 'SELECT key, count FROM counts ORDER BY key')
      const example = join(folder, 'examples', 'count-keys.js')
      await runUntil(t, program as string, [example, servers.kafka.brokers, 'packed', file], () => counts().length > 0)
      assert.deepEqual(counts(), [
        { key: 'even', count: RECORDS / 2 },
        { key: 'odd', count: RECORDS / 2 },
      ])
    })
  }

  /** The JavaScript in its README, in order. */
  function programs(): string[] {
    return [...readFileSync(join(folder, 'README.md'), 'utf8').matchAll(/```js\n(.*?)```/gs)].map(([, program]) => program as string)
  }

  /** Runs a program of the empty folder, asks it to end when the condition holds, and expects that it ends well. */
  async function runUntil(t: TestContext, program: string, args: readonly string[], condition: () => boolean): Promise<void> {
    const env = { PATH: process.env.PATH }
    const child = spawn(program, args, { cwd: installed, env, stdio: ['ignore', 'ignore', 'inherit'] })
    t.after(() => child.kill('SIGKILL'))
    const exit = once(child, 'exit')
    while (!condition() && child.exitCode === null) await sleep(50)
    child.kill('SIGTERM')
    assert.deepEqual(await exit, [0, null])
  }
})

/** @returns no rows while the program has not made its tables */
function rows(file: string, sql: string): object[] {
  const db = new DatabaseSync(file, { timeout: 5000 })
  try {
    return db
      .prepare(sql)
      .all()
      .map((row) => ({ ...row }))
  } catch {
    return []
  } finally {
    db.close()
  }
}

/** This Node, and the oldest one that the package promises, which TEST_OLDEST_NODE names. */
function nodes(): [name: string, program: string | null][] {
  const oldest = process.env.TEST_OLDEST_NODE ?? null
  return [
    ['this Node', process.execPath],
    [oldest === null ? 'the oldest Node' : execFileSync(oldest, ['--version'], { encoding: 'utf8' }).trim(), oldest],
  ]
}

/** In a copy: while npm packs, another package.json is in the package's place. @returns the archive's path */
function pack(copy: string): string {
  const leaveOut = new Set(['node_modules', 'dist'])
  cpSync(join(PROJECT, 'packages'), join(copy, 'packages'), { recursive: true, filter: (path) => !leaveOut.has(basename(path)) })
  for (const file of ['LICENSE', 'tsconfig.json']) cpSync(join(PROJECT, file), join(copy, file))
  symlinkSync(join(PROJECT, 'node_modules'), join(copy, 'node_modules'))
  const folder = join(copy, 'packages', 'kafka-reader')
  const [manifest, original] = [join(folder, 'package.json'), join(PROJECT, 'packages', 'kafka-reader', 'package.json')]
  const archive = join(folder, npm(['pack', '--silent'], folder).trim().split('\n').at(-1) as string)
  assert.equal(readFileSync(manifest, 'utf8'), readFileSync(original, 'utf8'), 'package.json is as it was')
  return archive
}

function npm(args: readonly string[], cwd: string): string {
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}` }
  return execFileSync('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd, env, encoding: 'utf8' })
}

async function fill(topic: string): Promise<void> {
  const clientOptions = { clientId: 'packed', bootstrapBrokers: [servers.kafka.brokers] }
  const admin = new Admin(clientOptions)
  await admin.createTopics({ topics: [topic], partitions: 1, replicas: 1 })
  await admin.close()
  await write(topic, 'value', RECORDS)
}

/** Writes that many records; the value of each is the given word and its number. */
async function write(topic: string, word: string, count: number): Promise<void> {
  const producer = new Producer({ clientId: 'packed', bootstrapBrokers: [servers.kafka.brokers] })
  const messages = Array.from({ length: count }, (_, i) => ({
    topic,
    key: Buffer.from(i % 2 === 0 ? 'even' : 'odd'),
    value: Buffer.from(`${word} ${i}`),
  }))
  await producer.send({ messages })
  await producer.close()
}
