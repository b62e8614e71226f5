/** The pipeline as a newcomer runs it: `make start`, Ctrl-C, `make start`. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type PokeApiServer, servePokeApi } from 'dev/poke-api-server.ts'
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
    const command = new DevCommand('start', folder, { POKE_API_URL: api.url, CAPTURE_INTERVAL: '100ms', ...settings })
    commands.push(command)
    return command
  }

  test('shows counts that grow and where the page is, and ends on Ctrl-C with nothing left', async () => {
    const running = start()
    await running.counted((types) => types > 10)
    const page = await running.page()
    assert.match(await (await fetch(page)).text(), /<!doctype html>/i)
    await running.said(/captured \d+, in outbox \d+, lag \d+; types counted [1-9]/)
    running.signal('SIGINT')
    assert.equal(await running.exitCode, 0, running.output)
    assert.match(running.output, new RegExp(`Page +${page}`))
    assert.match(running.output, /Ctrl-C: stopping the producer, the consumer and Kafka/)
    await running.nothingIsLeft()
  })

  test('goes on from where it was, also after Kafka was killed under it', async () => {
    const running = start()
    const before = await running.counted((types) => types > 10)
    await running.counted((types) => types > before)
    await running.killService('kafka')
    await running.said(/Kafka +localhost:\d+ answers again/)
    const killed = await running.counted(() => true)
    await running.counted((types) => types > killed + 20)
    assert.match(running.output, /Kafka +has ended; it is started again/)
    running.signal('SIGTERM')
    assert.equal(await running.exitCode, 0, running.output)
    await running.nothingIsLeft()
  })

  test('runs beside another one in another folder, started at the same moment', async () => {
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
    const running = start({ CAPTURE_INTERVAL: 'soon', CAPTURE_CONCURRENCY: 'many' })
    assert.equal(await running.exitCode, 78)
    assert.match(running.output, /The producer cannot go on:/)
    assert.match(running.output, /CAPTURE_INTERVAL is "soon"; accepted: a duration/)
    assert.match(running.output, /CAPTURE_CONCURRENCY is "many"/)
  })
})
