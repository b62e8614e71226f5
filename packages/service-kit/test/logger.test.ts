/** The content of a log line. */
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { createLogger } from '../src/logger.ts'
import { ServiceError } from '../src/service-error.ts'

function memory(): { stream: Writable; lines: () => string[] } {
  let written = ''
  const stream = new Writable({
    write(chunk, _, done) {
      written += chunk
      done()
    },
  })
  return { stream, lines: () => written.split('\n').filter((line) => line !== '') }
}

async function logged(level: 'info' | 'warn', what: object, message: string): Promise<Record<string, unknown>> {
  const { stream, lines } = memory()
  const logger = await createLogger({ service: 'poke-api-producer', level: 'info', format: 'json', stream })
  logger[level](what, message)
  assert.equal(lines().length, 1)
  return JSON.parse(lines()[0] as string)
}

test('a line is JSON with time, level, service and message', async () => {
  const line = await logged('warn', { id: 25 }, 'hello')
  assert.match(String(line.time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.deepEqual({ ...line, time: '' }, { time: '', level: 'warn', service: 'poke-api-producer', id: 25, msg: 'hello' })
})

test('an expected error is logged with code, message and cause, without a stack', async () => {
  const error = new ServiceError('Kafka is away', {
    code: 'publish/unreachable',
    exitCode: 75,
    retriable: true,
    cause: new Error('ECONNREFUSED'),
  })
  const line = await logged('warn', { err: error }, error.message)
  assert.deepEqual(line.err, { type: 'ServiceError', code: 'publish/unreachable', message: 'Kafka is away', cause: 'Error: ECONNREFUSED' })
})

test('an unexpected error is logged with its stack', async () => {
  const line = await logged('warn', { err: new TypeError('x is undefined') }, 'oh')
  assert.match((line.err as { stack: string }).stack, /TypeError: x is undefined\n {4}at /)
})

test('lines below the level are not written', async () => {
  const { stream, lines } = memory()
  const logger = await createLogger({ service: 's', level: 'warn', format: 'json', stream })
  logger.info('hidden')
  logger.error('shown')
  assert.equal(lines().length, 1)
})

test('a readable line has no colours if another program collects it', async () => {
  const { stream, lines } = memory()
  const logger = await createLogger({ service: 's', level: 'info', format: 'readable', stream })
  logger.info({ captured: 3 }, 'captured 3')
  assert.equal(lines().length, 1)
  assert.match(lines()[0] as string, /^\[\d\d:\d\d:\d\d\] INFO: captured 3$/)
})

test('a readable line of a mistake in the program has its stack', async () => {
  const { stream, lines } = memory()
  const logger = await createLogger({ service: 's', level: 'info', format: 'readable', stream })
  logger.error({ err: new TypeError('x is undefined') }, 'oh')
  assert.match(lines().join('\n'), /TypeError: x is undefined\n +at /)
})
