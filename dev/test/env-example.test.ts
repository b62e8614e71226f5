/** `.env.example` names settings that there are, with their defaults. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { SETTINGS as CONSUMER } from 'poke-api-consumer/src/config.ts'
import { SETTINGS as PRODUCER } from 'poke-api-producer/src/config.ts'

test('.env.example names settings that there are, with their defaults', async () => {
  const example = await readFile(new URL('../../.env.example', import.meta.url), 'utf8')
  const given = [...example.matchAll(/^#?([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value])
  const settings: Record<string, { default: string }> = { ...PRODUCER, ...CONSUMER }
  assert.ok(given.length > 5)
  assert.deepEqual(
    given,
    given.map(([name]) => [name, settings[name ?? '']?.default]),
  )
})
