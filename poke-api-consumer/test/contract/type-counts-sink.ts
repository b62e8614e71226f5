/** What every `TypeCountsSink` must do. Each implementation runs this suite. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { TypeCountsSink } from '../../src/application/ports.ts'
import type { TypeCounts } from '../../src/entities/tally.ts'

export interface SinkHarness {
  readonly sink: TypeCountsSink
  /** The published document, or null. */
  published(): Promise<string | null> | string | null
  /** Publishes as another instance does. */
  publishElsewhere(counts: TypeCounts): Promise<void>
  /** Makes every write fail. */
  breakIt(): Promise<void>
  /** Makes writes work again. */
  mendIt(): Promise<void>
}

/** @param open called for each test, with its context; returns a sink to which nothing was published yet */
export function testTypeCountsSink(name: string, open: (t: TestContext) => Promise<SinkHarness>): void {
  describe(`${name} as a sink of type counts`, () => {
    test('before the first write nothing is published, and no counts match', async (t) => {
      const { sink, published } = await open(t)
      assert.equal(await published(), null)
      assert.equal(await sink.matches(new Map()), false)
    })

    test('publishes one line of JSON, with types in alphabetical order', async (t) => {
      const { sink, published } = await open(t)
      await sink.write(
        new Map([
          ['water', 190],
          ['bug', 106],
          ['fire', 1],
        ]),
      )
      assert.equal(await published(), '{"types":{"bug":106,"fire":1,"water":190}}\n')
    })

    test('publishes no counts as an empty object', async (t) => {
      const { sink, published } = await open(t)
      await sink.write(new Map())
      assert.equal(await published(), '{"types":{}}\n')
    })

    test('keeps this order if the name of a type is a number', async (t) => {
      const { sink, published } = await open(t)
      await sink.write(
        new Map([
          ['a', 1],
          ['10', 2],
          ['-', 3],
        ]),
      )
      assert.equal(await published(), '{"types":{"-":3,"10":2,"a":1}}\n')
    })

    test('a write replaces the previous counts, shorter or longer', async (t) => {
      const { sink, published } = await open(t)
      await sink.write(
        new Map([
          ['electric', 1_000_000],
          ['bug', 1],
        ]),
      )
      await sink.write(new Map([['bug', 2]]))
      assert.equal(await published(), '{"types":{"bug":2}}\n')
      await sink.write(
        new Map([
          ['bug', 2],
          ['electric', 1_000_001],
        ]),
      )
      assert.equal(await published(), '{"types":{"bug":2,"electric":1000001}}\n')
    })

    test('matches the published counts in any order, and no others', async (t) => {
      const { sink } = await open(t)
      await sink.write(
        new Map([
          ['bug', 1],
          ['fire', 2],
        ]),
      )
      assert.equal(
        await sink.matches(
          new Map([
            ['fire', 2],
            ['bug', 1],
          ]),
        ),
        true,
      )
      assert.equal(await sink.matches(new Map([['fire', 2]])), false)
      assert.equal(
        await sink.matches(
          new Map([
            ['fire', 3],
            ['bug', 1],
          ]),
        ),
        false,
      )
    })

    test('notices that another instance has published counts', async (t) => {
      const { sink, publishElsewhere, published } = await open(t)
      await sink.write(new Map([['bug', 2]]))
      await publishElsewhere(new Map([['bug', 1]]))
      assert.equal(await sink.matches(new Map([['bug', 2]])), false)
      await sink.write(new Map([['bug', 2]]))
      assert.equal(await published(), '{"types":{"bug":2}}\n')
    })

    test('a failed write leaves the published counts, and the next one works', async (t) => {
      const { sink, published, breakIt, mendIt } = await open(t)
      await sink.write(new Map([['bug', 1]]))
      await breakIt()
      await assert.rejects(sink.write(new Map([['bug', 2]])))
      await mendIt()
      assert.equal(await published(), '{"types":{"bug":1}}\n')
      await sink.write(new Map([['bug', 3]]))
      assert.equal(await published(), '{"types":{"bug":3}}\n')
    })
  })
}
