/** The working directory adds its `.env`, and the settings of a pipeline that runs there, to the environment. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { environmentHere, RUNNING_FILE } from '../src/environment-here.ts'

const NAMES = ['KAFKA_BROKERS', 'STORE_URL', 'LOG_LEVEL']
const SETTINGS = { KAFKA_BROKERS: 'localhost:9093', STORE_URL: 'sqlite:data/dev/type-counts.db' }

function folder(t: TestContext, files: Readonly<Record<string, string>> = {}): string {
  const dir = mkdtempSync(join(tmpdir(), 'environment-'))
  t.after(() => rmSync(dir, { recursive: true }))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), content)
  }
  return dir
}

const running = (pid: number, settings: unknown = SETTINGS) => ({
  [RUNNING_FILE]: JSON.stringify({ command: 'make start', pid, settings }),
})

test('an empty folder adds nothing', (t) => {
  assert.deepEqual(environmentHere({ HOME: '/home' }, NAMES, folder(t)), { env: { HOME: '/home' }, notice: null })
})

test('.env is read, and a variable of the environment takes precedence, even if it is empty', (t) => {
  const dir = folder(t, { '.env': '# a comment\nLOG_LEVEL=debug\nSTORE_URL=sqlite:a\nKAFKA_BROKERS="a:1"\n' })
  const { env } = environmentHere({ STORE_URL: 'sqlite:b', LOG_LEVEL: '' }, NAMES, dir)
  assert.deepEqual(env, { LOG_LEVEL: '', STORE_URL: 'sqlite:b', KAFKA_BROKERS: 'a:1' })
})

test('.env can have a byte order mark, UTF-16 and the line breaks of Windows', (t) => {
  const text = '\ufeffSTORE_URL="sqlite:a b"\r\nexport LOG_LEVEL=debug # ü\r\n'
  const big = Buffer.from(text, 'utf16le').swap16()
  for (const content of [Buffer.from(text), Buffer.from(text, 'utf16le'), big]) {
    const dir = folder(t)
    writeFileSync(join(dir, '.env'), content)
    assert.deepEqual(environmentHere({}, NAMES, dir).env, { STORE_URL: 'sqlite:a b', LOG_LEVEL: 'debug' })
  }
})

test('a .env that is not text is refused', (t) => {
  const dir = folder(t)
  for (const content of [Buffer.from('A=\xe4\nSTORE_URL=sqlite:a', 'latin1'), Buffer.from([0xff, 0xfe, 0x41])]) {
    writeFileSync(join(dir, '.env'), content)
    assert.throws(() => environmentHere({}, NAMES, dir), {
      exitCode: 78,
      message: /^the file \.env is not text in UTF-8: save it as UTF-8$/,
    })
  }
})

test('a folder that is called .env is ignored', (t) => {
  assert.deepEqual(environmentHere({}, NAMES, folder(t, { '.env/bin/python': '' })).env, {})
})

test('the settings of a pipeline that runs here are used, and a notice names them', (t) => {
  const { env, notice } = environmentHere({ LOG_LEVEL: 'warn' }, NAMES, folder(t, running(process.pid)))
  assert.deepEqual(env, { LOG_LEVEL: 'warn', ...SETTINGS })
  assert.equal(
    notice,
    `make start runs here (process ${process.pid}); its settings are used: KAFKA_BROKERS=localhost:9093 STORE_URL=sqlite:data/dev/type-counts.db`,
  )
  assert.deepEqual(environmentHere({}, ['KAFKA_BROKERS'], folder(t, running(process.pid))).env, { KAFKA_BROKERS: 'localhost:9093' })
})

test('none of them is used if the user has set brokers or store, because a store belongs to one Kafka', (t) => {
  for (const env of [{ KAFKA_BROKERS: 'a:1' }, { STORE_URL: 'sqlite:a' }]) {
    assert.deepEqual(environmentHere(env, NAMES, folder(t, running(process.pid))), { env, notice: null })
  }
  const dir = folder(t, { ...running(process.pid), '.env': 'KAFKA_BROKERS=a:1\n' })
  assert.deepEqual(environmentHere({}, NAMES, dir), { env: { KAFKA_BROKERS: 'a:1' }, notice: null })
})

test('brokers and store of a pipeline that runs here are used although .env sets topic or group for both', (t) => {
  const names = [...NAMES, 'KAFKA_TOPIC']
  const settings = { ...SETTINGS, KAFKA_TOPIC: 'pokemon' }
  const dir = folder(t, { ...running(process.pid, settings), '.env': 'KAFKA_TOPIC=pokemon\n' })
  const { env, notice } = environmentHere({}, names, dir)
  assert.deepEqual(env, settings)
  assert.match(notice ?? '', /^make start runs here /)
  const other = environmentHere({ KAFKA_TOPIC: 'other' }, names, dir)
  assert.deepEqual(other, { env: { KAFKA_TOPIC: 'other' }, notice: null })
})

test('a file that a killed pipeline left, an incomplete one and another program’s are ignored', (t) => {
  const { pid } = spawnSync(process.execPath, ['--version'])
  for (const files of [
    running(pid),
    { [RUNNING_FILE]: '{"command":' },
    running(process.pid, { KAFKA_BROKERS: 1 }),
    running(process.pid, null),
  ])
    assert.deepEqual(environmentHere({}, NAMES, folder(t, files)), { env: {}, notice: null })
})
