/** The terminal of a process: when it can ask questions, and which answers consent. */
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { processTerminal } from '../../src/infrastructure/terminal/terminal.ts'

/** A process whose streams are terminals or not. */
function processWith(isTTY: boolean) {
  const stream = () => Object.assign(new PassThrough(), { isTTY, columns: 72, hasColors: () => true })
  const [stdin, stdout, stderr] = [stream(), stream(), stream()]
  const terminal = processTerminal({ stdin, stdout, stderr, env: {} } as unknown as NodeJS.Process)
  return { terminal, stdin, stdout, stderr }
}

for (const [answer, meaning] of [
  ['y', true],
  ['Yes', true],
  [' YES ', true],
  ['', false],
  ['n', false],
  ['yesterday', false],
] as const) {
  test(`"${answer}" ${meaning ? 'consents' : 'does not consent'}`, async () => {
    const { terminal, stdin, stdout, stderr } = processWith(true)
    const asked: string[] = []
    stderr.setEncoding('utf8').on('data', (part: string) => asked.push(part))
    stdin.write(`${answer}\n`)
    assert.equal(await terminal.ask('Go on?'), meaning)
    assert.match(asked.join(''), /Go on\? \[y\/N\] /)
    assert.equal(stdout.read(), null)
  })
}

test('an input that ends without an answer does not consent', async () => {
  const { terminal, stdin } = processWith(true)
  stdin.end()
  assert.equal(await terminal.ask('Go on?'), false)
})

test('without a terminal there is no question, lines are not cut, and nothing is overwritten', async () => {
  const { terminal, stdin } = processWith(false)
  stdin.write('y\n')
  assert.equal(await terminal.ask('Go on?'), null)
  assert.equal(terminal.watched, false)
  assert.deepEqual(terminal.look, { columns: Number.POSITIVE_INFINITY, colours: false })
})

test('lines are cut at the edge of the terminal', () => {
  const { terminal } = processWith(true)
  assert.deepEqual([terminal.look, terminal.watched, terminal.errorColumns], [{ columns: 72, colours: true }, true, 72])
})
