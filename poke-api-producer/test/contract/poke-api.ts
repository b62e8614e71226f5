/** What every `PokeApi` must do: each implementation runs this suite by a short file of its own. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { PokeApi } from '../../src/application/ports.ts'
import { PokeApiError } from '../../src/errors.ts'
import { pokemon } from '../pokemon.ts'

/** The world that an implementation is asked about. Its Pokémon are those of `pokemon(id)`. */
export interface PokeApiWorld {
  /** The Pokémon that the API names. */
  readonly ids: readonly number[]
  /** Those of them that it answers 404 for. */
  readonly missing?: readonly number[]
  /** It answers nothing that is of use. */
  readonly down?: boolean
}

/** @param make called for each test, which tells when it is over */
export function testPokeApi(name: string, make: (t: TestContext, world: PokeApiWorld) => PokeApi | Promise<PokeApi>): void {
  const never = new AbortController().signal

  describe(`${name} as a PokeApi`, () => {
    test('lists the ids of the API, ascending; they need not be one range', async (t) => {
      const api = await make(t, { ids: [1, 2, 3, 10001, 10002] })
      assert.deepEqual(await api.list(never), [1, 2, 3, 10001, 10002])
    })

    test('captures a Pokémon: its facts, the time and the source', async (t) => {
      const api = await make(t, { ids: [1, 25] })
      const capture = await api.capture(25, never)
      assert.deepEqual(capture?.pokemon, pokemon(25))
      assert.match(capture?.time ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      assert.ok(capture?.origin === 'live' || capture?.origin === 'bundled')
    })

    test('captures the same Pokémon again', async (t) => {
      const api = await make(t, { ids: [25] })
      const first = await api.capture(25, never)
      const second = await api.capture(25, never)
      assert.deepEqual(second?.pokemon, first?.pokemon)
    })

    test('captures many at the same time, each as itself', async (t) => {
      const ids = Array.from({ length: 40 }, (_, index) => index + 1)
      const api = await make(t, { ids })
      const captures = await Promise.all(ids.map((id) => api.capture(id, never)))
      assert.deepEqual(
        captures.map((capture) => capture?.pokemon),
        ids.map((id) => pokemon(id)),
      )
    })

    test('gives null for a Pokémon that the API answers 404 for', async (t) => {
      const api = await make(t, { ids: [1, 2], missing: [2] })
      assert.equal(await api.capture(2, never), null)
      assert.notEqual(await api.capture(1, never), null)
    })

    test('rejects with an error that can be retried while the API is down', async (t) => {
      const api = await make(t, { ids: [1], down: true })
      const retriable = (error: unknown) => error instanceof PokeApiError && error.retriable
      await assert.rejects(api.list(never), retriable)
      await assert.rejects(api.capture(1, never), retriable)
    })

    test("rejects with the signal's reason when it is aborted", async (t) => {
      const api = await make(t, { ids: [1] })
      const reason = new Error('enough')
      await assert.rejects(api.capture(1, AbortSignal.abort(reason)), reason)
    })
  })
}
