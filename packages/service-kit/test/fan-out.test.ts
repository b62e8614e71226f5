/** One observer in place of several listeners. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fanOut } from '../src/fan-out.ts'

interface Observer {
  opened(partition: number, offset: number): void
  closed(partition: number): void
}

test('passes each call with its arguments to every listener that has the method, in their order', () => {
  const heard: string[] = []
  class Log implements Partial<Observer> {
    readonly #name = 'log'
    opened(...args: number[]): void {
      heard.push(`${this.#name} opened ${args}`)
    }
  }
  const all = fanOut<Observer>([
    new Log(),
    { opened: (...args) => heard.push(`page opened ${args}`), closed: (...args) => heard.push(`page closed ${args}`) },
    {},
  ])
  all.opened(3, 17)
  all.closed(3)
  all.opened(4, 0)
  assert.deepEqual(heard, ['log opened 3,17', 'page opened 3,17', 'page closed 3', 'log opened 4,0', 'page opened 4,0'])
})
