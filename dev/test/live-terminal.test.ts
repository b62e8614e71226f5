/** A picture that is redrawn at the bottom of a terminal, with lines above it. */
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, test } from 'node:test'
import { LiveTerminal } from '../live-terminal.ts'

const ESC = '\u001b'
const TOKENS = new RegExp(`${ESC}\\[\\d*[A-Z]|\r|\n|[^${ESC}\r\n]+`, 'g')
const CURSOR_UP = new RegExp(`^${ESC}\\[(\\d+)A$`)

/** A terminal that understands what LiveTerminal writes: line feeds, cursor up, and erasing. */
class FakeTerminal extends Writable {
  readonly isTTY: boolean
  columns = 40
  rows = 10
  /** All lines that were ever written. */
  lines: string[] = ['']
  #row = 0

  constructor(isTTY: boolean) {
    super({ decodeStrings: false })
    this.isTTY = isTTY
  }

  hasColors(): boolean {
    return true
  }

  override _write(text: string, _: string, done: () => void): void {
    for (const token of text.match(TOKENS) ?? []) this.#obey(token)
    done()
  }

  #obey(token: string): void {
    const up = CURSOR_UP.exec(token)
    if (up) this.#row = Math.max(0, this.#row - Number(up[1]))
    else if (token === '\u001b[J') this.lines.splice(this.#row, Number.POSITIVE_INFINITY, '')
    else if (token === '\n') this.lines[++this.#row] ??= ''
    else if (token !== '\r' && token !== '\u001b[K') this.lines[this.#row] = token
  }
}

const open = (stream: FakeTerminal, env: NodeJS.ProcessEnv = {}) => new LiveTerminal(stream as unknown as NodeJS.WriteStream, env)

describe('in a terminal', () => {
  test('a picture replaces the previous one, also if it is shorter', () => {
    const stream = new FakeTerminal(true)
    const terminal = open(stream)
    terminal.draw(['one', 'two', 'three'])
    terminal.draw(['four', 'five'])
    assert.deepEqual(stream.lines, ['four', 'five', ''])
  })

  test('messages stay above the picture', () => {
    const stream = new FakeTerminal(true)
    const terminal = open(stream)
    terminal.say('Kafka runs')
    terminal.draw(['picture', 'of two lines'])
    terminal.say('The producer died:\n | its last words')
    terminal.draw(['next picture', 'of two lines'])
    assert.deepEqual(stream.lines, ['Kafka runs', 'The producer died:', ' | its last words', 'next picture', 'of two lines', ''])
  })

  test('a finished picture stays, and later output is below it', () => {
    const stream = new FakeTerminal(true)
    const terminal = open(stream)
    terminal.draw(['last picture'])
    terminal.leave()
    terminal.say('stopping')
    assert.deepEqual(stream.lines, ['last picture', 'stopping', ''])
  })

  test('a picture is cut to the height of the screen, because lines above it cannot be overwritten', () => {
    const stream = new FakeTerminal(true)
    stream.rows = 4
    open(stream).draw(['1', '2', '3', '4', '5'])
    assert.deepEqual(stream.lines, ['1', '2', '3', ''])
  })

  test('lines that a narrower terminal has wrapped are overwritten as well', () => {
    const stream = new FakeTerminal(true)
    const terminal = open(stream)
    terminal.draw(['x'.repeat(30), 'short'])
    stream.columns = 20
    stream.lines = ['x'.repeat(20), 'x'.repeat(10), 'short', '']
    stream.emit('resize')
    // Like a terminal that is resized: the cursor stays behind the same character.
    terminal.draw([])
    assert.equal(stream.lines.length, 1)
  })
})

describe('without a terminal', () => {
  for (const [name, stream, env] of [
    ['a pipe', new FakeTerminal(false), {}],
    ['a terminal that can do nothing', new FakeTerminal(true), { TERM: 'dumb' }],
  ] as const) {
    test(`${name} gets only lines, without colours`, () => {
      const terminal = open(stream, env)
      terminal.draw(['picture'])
      terminal.say('said')
      assert.deepEqual(stream.lines, ['said', ''])
      assert.deepEqual([terminal.live, terminal.look.colours], [false, false])
    })
  }
})
