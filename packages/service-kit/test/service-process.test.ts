/** A service's life as a process: real processes, real signals. */
import assert from 'node:assert/strict'
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('small-service.ts', import.meta.url))

interface LogLine {
  readonly level: string
  readonly msg: string
  readonly code?: string
  readonly err?: { readonly stack?: string }
}

/** A running small service and what it says. */
class Running {
  readonly child: ChildProcess
  readonly lines: LogLine[] = []
  readonly #exit: Promise<unknown[]>
  #rest = ''
  #heard: () => void = () => undefined

  constructor(t: TestContext, child: ChildProcess) {
    this.child = child
    this.#exit = once(child, 'exit')
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const parts = (this.#rest + text).split('\n')
      this.#rest = parts.pop() as string
      this.lines.push(...parts.map((line) => JSON.parse(line)))
      this.#heard()
    })
    t.after(() => child.kill('SIGKILL'))
  }

  /** Resolves when it has said it. */
  async says(message: RegExp): Promise<LogLine> {
    for (;;) {
      const line = this.lines.find(({ msg }) => message.test(msg))
      if (line !== undefined) return line
      await new Promise<void>((resolve, reject) => {
        this.#heard = resolve
        void this.#exit.then(() =>
          setImmediate(() => reject(new Error(`it ended without saying ${message}: ${JSON.stringify(this.lines)}`))),
        )
      })
    }
  }

  /** Resolves when it has ended, with its exit code, or the signal that killed it. */
  async ends(): Promise<number | NodeJS.Signals> {
    const [code, signal] = (await this.#exit) as [number | null, NodeJS.Signals | null]
    return code ?? (signal as NodeJS.Signals)
  }

  /** Sends the signal until it has ended: one that comes right after the first belongs to the same keystroke. */
  async insists(signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
    const again = setInterval(() => this.child.kill(signal), 20)
    try {
      return await this.ends()
    } finally {
      clearInterval(again)
    }
  }
}

async function start(t: TestContext, behaviour: string, shutdownTimeout = 10_000): Promise<Running> {
  const child = spawn(process.execPath, [PROGRAM, behaviour, String(shutdownTimeout)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const running = new Running(t, child)
  await running.says(/^started$/)
  return running
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
    assert.equal(await service.insists(signal), exitCode)
    assert.equal(service.lines.at(-1)?.msg, `${signal} again: ends at once`)
  })
}

test('two signals of one keystroke are one', async (t) => {
  const service = await start(t, 'stops when asked to')
  // Sent together: the system hands over one after the other before the first is answered.
  process.kill(service.child.pid as number, 'SIGINT')
  process.kill(service.child.pid as number, 'SIGTERM')
  assert.equal(await service.ends(), 0)
})

test('stopping has a time budget; past it the process ends at once and says which setting is the budget', async (t) => {
  const service = await start(t, 'never stops', 300)
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 143)
  assert.match(service.lines.at(-1)?.msg ?? '', /^did not stop within SHUTDOWN_TIMEOUT \(0\.3 s\): ends at once/)
})

test('when its work is done it ends by itself and answers 0', async (t) => {
  assert.equal(await (await start(t, 'is done')).ends(), 0)
})

test('the reason of its own signal, thrown back, is no failure', async (t) => {
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

test('a failure while it stops is said, too', async (t) => {
  const service = await start(t, 'fails while it stops')
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 75)
  assert.equal(service.lines.at(-1)?.msg, 'the last commit failed')
})

for (const behaviour of ['has a mistake', 'leaves a rejection unhandled']) {
  test(`a service that ${behaviour} ends with one line that has the stack, and answers 70`, async (t) => {
    const service = await start(t, behaviour)
    assert.equal(await service.ends(), 70)
    assert.equal(service.lines.length, 2)
    const line = service.lines.at(-1)
    assert.equal(line?.level, 'fatal')
    assert.match(line?.msg ?? '', /^a mistake in this program ends it: /)
    assert.match(line?.err?.stack ?? '', /small-service\.ts/)
  })
}

test('an expected error that nobody caught keeps its exit code', async (t) => {
  const service = await start(t, 'throws where nobody can catch')
  assert.equal(await service.ends(), 75)
  assert.deepEqual([service.lines.at(-1)?.code, service.lines.at(-1)?.err], ['store/io', undefined])
})

test('the end of the process that started it is a request to stop', async (t) => {
  const service = new Running(t, fork(PROGRAM, ['stops when asked to'], { silent: true }))
  await service.says(/^started$/)
  service.child.disconnect()
  assert.equal(await service.ends(), 0)
  assert.ok(await service.says(/^the process that started this one is gone: stopping$/))
})

test('a signal after that does not end it by force: whoever started it may have sent it on its way out', async (t) => {
  const service = new Running(t, fork(PROGRAM, ['never stops', '1500'], { silent: true }))
  await service.says(/^started$/)
  service.child.disconnect()
  await service.says(/is gone: stopping/)
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 75)
  assert.match(service.lines.at(-1)?.msg ?? '', /SHUTDOWN_TIMEOUT/)
})

test('it goes on, and stops in order, when nobody reads its output any more', async (t) => {
  const service = new Running(t, fork(PROGRAM, ['writes when told to'], { silent: true }))
  await service.says(/^started$/)
  service.child.stdout?.removeAllListeners('data').destroy()
  service.child.stderr?.destroy()
  // The first writes find the pipes closed, and the later ones whatever that has left behind.
  for (let line = 0; line < 5; line++) {
    service.child.send('write')
    const [answer] = await Promise.race([once(service.child, 'message'), service.ends().then((how) => [`it ended: ${how}`])])
    assert.equal(answer, 'written')
  }
  service.child.kill('SIGTERM')
  assert.equal(await service.ends(), 0)
})
