/** The progress bar: its line, how often it is drawn, and that it is not drawn without a terminal. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProgressBar, renderProgress } from '../../src/infrastructure/terminal/progress-bar.ts'

test('a line has a bar, a share and amounts', () => {
  assert.equal(renderProgress({ done: 0, total: 2000 }, 'offsets', 50), '░░░░░░░░░░░░░░░░    0.0 %      0 of 2,000 offsets')
  assert.equal(renderProgress({ done: 1500, total: 2000 }, 'offsets', 50), '████████████░░░░   75.0 %  1,500 of 2,000 offsets')
  assert.equal(renderProgress({ done: 2000, total: 2000 }, 'offsets', 50), '████████████████  100.0 %  2,000 of 2,000 offsets')
})

test('each line is shorter than the terminal is wide', () => {
  for (let columns = 1; columns < 120; columns++) {
    const line = renderProgress({ done: 1_234_567, total: 9_876_543 }, 'offsets', columns)
    assert.ok(line.length < columns, `${line.length} in ${columns}`)
  }
})

test('no work at all is shown as finished', () => {
  assert.match(renderProgress({ done: 0, total: 0 }, 'offsets', 80), /100\.0 % {2}0 of 0 offsets$/)
})

test('it is drawn at intervals, and clears its line at the end', () => {
  let time = 0
  const parts: string[] = []
  const terminal = { error: (text: string) => void parts.push(text), watched: true, errorColumns: 50 }
  const bar = new ProgressBar(terminal as never, 'offsets', () => time)
  for (; time < 1000; time += 10) bar.show({ done: time, total: 1000 })
  bar.clear()
  const written = parts.join('')
  assert.equal(written.split('\r\u001b[K').length - 1, 11)
  assert.ok(written.endsWith('\r\u001b[K'))
})

test('nothing is drawn without a terminal', () => {
  const terminal = {
    error: () => assert.fail('drawn'),
    watched: false,
    errorColumns: 50,
  }
  const bar = new ProgressBar(terminal as never, 'offsets', () => 0)
  bar.show({ done: 1, total: 2 })
  bar.clear()
})
