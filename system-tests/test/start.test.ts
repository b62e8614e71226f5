/** The pipeline as a newcomer runs it: `make start`, Ctrl-C, `make start`. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type PokeApiServer, servePokeApi } from '@poke-api-pipeline/dev/poke-api-server'
import { consumerCommand } from '../cli.ts'
import { DevCommand } from '../dev-command.ts'

describe('make start', () => {
  let dir: string
  let api: PokeApiServer
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'start-'))
    api = await servePokeApi()
  })
  const commands: DevCommand[] = []
  after(async () => {
    for (const command of commands) await command.kill()
    await api.close()
    await rm(dir, { recursive: true, force: true })
  })

  const start = (settings: Record<string, string> = {}, folder = dir) => {
    const command = new DevCommand('start', folder, {
      POKE_API_URL: api.url,
      CAPTURE_INTERVAL: '100ms',
      KAFKA_SESSION_TIMEOUT: '6s',
      ...settings,
    })
    commands.push(command)
    return command
  }

  test('shows growing counts and the page’s address, and leaves no process behind after Ctrl-C', async () => {
    const running = start()
    await running.counted((types) => types > 10)
    const page = await running.page()
    assert.match(await (await fetch(page)).text(), /<!doctype html>/i)
    await running.said(/captured \d+, waiting to be sent \d+, lag \d+, counted [1-9]\d*; of [1-9]\d* types?: /)
    running.signal('SIGINT')
    assert.equal(await running.exitCode, 0, running.output)
    assert.match(running.output, new RegExp(`Page +${page}`))
    assert.match(running.output, /Ctrl-C: stopping the producer, the consumer and Kafka/)
    await running.nothingIsLeft()
  })

  test('goes on from where it was, also after Kafka was killed', async () => {
    const running = start()
    const before = await running.counted((types) => types > 10)
    await running.counted((types) => types > before)
    await running.killService('kafka')
    await running.said(/Kafka +localhost:\d+ answers again/)
    const killed = await running.counted(() => true)
    await running.counted((types) => types > killed + 20)
    assert.match(running.output, /Kafka +has ended; it is being started again/)
    running.signal('SIGTERM')
    assert.equal(await running.exitCode, 0, running.output)
    await running.nothingIsLeft()
  })

  test('its figures agree and never go back, whatever is killed, until a reset', async () => {
    const running = start()
    let lines = await running.saidFigures(({ counted }) => counted !== null && counted > 0)
    for (const name of ['producer', 'consumer', 'kafka']) {
      await running.killService(name)
      const before = running.figures.at(-1)?.counted ?? 0
      lines = await running.saidFigures(({ captured, counted }) => captured !== null && counted !== null && counted > before, lines)
    }
    const figures = running.figures.slice(0, lines)
    const { exitCode, error } = await consumerCommand(running.consumerSettings, 'reset', '--from-beginning', '--yes')
    assert.equal(exitCode, 0, error)
    // Everything is counted again, including captures of earlier starts.
    const end = await running.saidFigures(
      ({ captured, waiting, lag, counted }) => lag === 0 && waiting === 0 && counted === captured,
      running.figures.length,
    )
    for (const [name, values] of [
      ['captured', running.figures.map(({ captured }) => captured)],
      ['counted', figures.map(({ counted }) => counted)],
    ] as const) {
      const known = values.filter((value) => value !== null)
      assert.deepEqual(
        known,
        known.toSorted((a, b) => a - b),
        `${name} went back:\n${running.output}`,
      )
    }
    for (const { captured, lag, counted } of running.figures.slice(0, end)) {
      if (captured === null || counted === null) continue
      assert.ok(counted + (lag ?? 0) <= captured, `captured ${captured}, counted ${counted}, lag ${lag}:\n${running.output}`)
    }
    running.signal('SIGTERM')
    assert.equal(await running.exitCode, 0, running.output)
  })

  test('runs beside another make start in another folder, started at the same moment', async () => {
    const both = ['one', 'other'].map((name) => start({}, join(dir, name)))
    for (const running of both) await running.counted((types) => types > 10)
    const brokers = both.map(({ output }) => /^Kafka +(localhost:\d+)/m.exec(output)?.[1])
    assert.notEqual(brokers[0], brokers[1])
    for (const running of both) {
      assert.doesNotMatch(running.output, /has ended/)
      running.signal('SIGTERM')
      assert.equal(await running.exitCode, 0, running.output)
      await running.nothingIsLeft()
    }
  })

  test('ends with the message of a service that cannot go on', async () => {
    const file = join(dir, 'no-folder')
    await writeFile(file, '')
    const running = start({ DATA_DIR: file })
    assert.equal(await running.exitCode, 73)
    assert.match(running.output, /The producer cannot run, and is not started again:/)
  })

  test('reports all wrong settings of both services at once, and names that are probably misspelt, before it starts anything', async () => {
    const wrong = start({ CAPTURE_INTERVAL: 'soon', ON_DATA_LOSS: 'maybe' })
    assert.equal(await wrong.exitCode, 78)
    assert.match(wrong.output, /2 settings are wrong:\n {2}CAPTURE_INTERVAL is "soon"; accepted: a duration.*\n {2}ON_DATA_LOSS is "maybe"/)
    assert.doesNotMatch(wrong.output, /Apache Kafka/)
    const misspelt = start({ CAPTURE_INTERVALL: '1s', CAPTURE_MODE: 'sweep', CAPTURE_INTERVAL: '' })
    await misspelt.said(/CAPTURE_INTERVALL is not a setting of this service: was CAPTURE_INTERVAL meant\?/)
    await misspelt.said(/CAPTURE_MODE=sweep is ignored: make start needs CAPTURE_MODE=random/)
    misspelt.signal('SIGTERM')
    assert.equal(await misspelt.exitCode, 0, misspelt.output)
  })
})
