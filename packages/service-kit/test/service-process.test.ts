/** How a service starts, stops and fails: real processes with real signals. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { RunningService } from '../testing/index.ts'

const PROGRAM = fileURLToPath(new URL('small-service.ts', import.meta.url))

async function start(
  t: TestContext,
  behaviour: string,
  { shutdownTimeout = 10_000, channel = false, pipe = '' } = {},
): Promise<RunningService> {
  const service = new RunningService(t, PROGRAM, { args: [behaviour, String(shutdownTimeout), pipe], channel })
  await service.says(/^started$/)
  return service
}

/** Sends the signal until the service has ended, because a signal right after the first one counts as the same keystroke. */
async function insist(service: RunningService, signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
  const again = setInterval(() => service.child.kill(signal), 20)
  try {
    return await service.ends()
  } finally {
    clearInterval(again)
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`${signal} asks it to stop; it answers 0`, async (t) => {
    const service = await start(t, 'stops when asked to')
    service.child.kill(signal)
    assert.equal(await service.ends(), 0)
    assert.deepEqual(
      service.lines.map(({ msg }) => msg),
      ['started', `${signal}: stopping`, 'stopped'],
    )
  })
}

for (const [signal, exitCode] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`a second ${signal} ends it at once; it answers ${exitCode}`, async (t) => {
    const service = await start(t, 'never stops')
    service.child.kill(signal)
    await service.says(/stopping/)
    assert.equal(await insist(service, signal), exitCode)
    assert.equal(service.lines.at(-1)?.msg, `${signal} again: the process ends at once`)
  })
}

test('two signals of one keystroke count as one, so the time budget ends a service that does not stop', async (t) => {
  const service = await start(t, 'never stops', { shutdownTimeout: 300 })
  process.kill(service.child.pid as number, 'SIGINT')
  process.kill(service.child.pid as number, 'SIGTERM')
  await service.ends()
  assert.match(service.lines.at(-1)?.msg ?? '', /^the service did not stop within SHUTDOWN_TIMEOUT/)
})

test('after its time budget the process ends at once, and names the setting of the budget', async (t) => {
  const service = await start(t, 'never stops', { shutdownTimeout: 300 })
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 143)
  assert.match(service.lines.at(-1)?.msg ?? '', /^the service did not stop within SHUTDOWN_TIMEOUT \(0\.3 s\): the process ends at once/)
})

test('a disk that does not answer does not keep it from ending', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'service-process-'))
  t.after(() => rm(folder, { recursive: true }))
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const service = await start(t, 'hangs at a disk that does not answer', { pipe })
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 'SIGKILL')
  assert.equal(service.lines.at(-1)?.msg, 'stopped')
})

test('a service that has finished its work ends with exit code 0', async (t) => {
  assert.equal(await (await start(t, 'is done')).ends(), 0)
})

test('the abort reason of its own signal is not a failure', async (t) => {
  const service = await start(t, 'throws the reason of its signal')
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 0)
})

test('an expected error ends it with one message, its code and its exit code, without a stack', async (t) => {
  const service = await start(t, 'cannot go on')
  assert.equal(await service.ends(), 65)
  const line = service.lines.at(-1)
  assert.equal(line?.level, 'fatal')
  assert.equal(line?.msg, 'the store is damaged: put a backup in its place')
  assert.deepEqual([line?.code, line?.err], ['store/damaged', undefined])
})

test('a failure while it stops is logged, too', async (t) => {
  const service = await start(t, 'fails while it stops')
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 75)
  assert.equal(service.lines.at(-1)?.msg, 'the last commit failed')
})

for (const behaviour of ['has a mistake', 'leaves a rejection unhandled']) {
  test(`a service that ${behaviour} logs one line with the stack, and ends with exit code 70`, async (t) => {
    const service = await start(t, behaviour)
    assert.equal(await service.ends(), 70)
    assert.equal(service.lines.length, 2)
    const line = service.lines.at(-1)
    assert.equal(line?.level, 'fatal')
    assert.match(line?.msg ?? '', /^a mistake in this program ends it: /)
    assert.match(line?.err?.stack ?? '', /small-service\.ts/)
  })
}

test('an uncaught expected error keeps its exit code', async (t) => {
  const service = await start(t, 'throws where nobody can catch')
  assert.equal(await service.ends(), 75)
  assert.deepEqual([service.lines.at(-1)?.code, service.lines.at(-1)?.err], ['store/io', undefined])
})

test('it stops when its parent process ends', async (t) => {
  const service = await start(t, 'stops when asked to', { channel: true })
  service.child.disconnect()
  assert.equal(await service.ends(), 0)
  assert.ok(await service.says(/^the parent process has ended: stopping$/))
})

test('a signal after that does not end it by force, because its parent may have sent the signal while it ended', async (t) => {
  const service = await start(t, 'never stops', { shutdownTimeout: 1500, channel: true })
  service.child.disconnect()
  await service.says(/has ended: stopping/)
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 75)
  assert.match(service.lines.at(-1)?.msg ?? '', /SHUTDOWN_TIMEOUT/)
})

test('it continues, and stops gracefully, when the reader of its output is gone', async (t) => {
  const service = await start(t, 'writes when told to', { channel: true })
  service.child.stdout?.removeAllListeners('data').destroy()
  service.child.stderr?.destroy()
  // The first writes fail because the pipes are closed; later writes must not fail in another way.
  for (let line = 0; line < 5; line++) {
    service.child.send('write')
    const [answer] = await Promise.race([once(service.child, 'message'), service.ends().then((how) => [`it ended: ${how}`])])
    assert.equal(answer, 'written')
  }
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 0)
})
