/** `.env.example` names existing settings and variables of `compose.yaml`, with their defaults. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { SETTINGS as CONSUMER } from '@poke-api-pipeline/poke-api-consumer/config'
import { SETTINGS as PRODUCER } from '@poke-api-pipeline/poke-api-producer/config'

const read = (name: string) => readFile(new URL(`../../${name}`, import.meta.url), 'utf8')

/** The variables of compose.yaml that are no settings of a service, and their defaults; a project's name is Compose's own. */
async function composeVariables(): Promise<Record<string, { default: string }>> {
  const variables = [...(await read('compose.yaml')).matchAll(/\$\{([A-Z_]+)(?::-([^}]*))?\}/g)]
  return Object.fromEntries(variables.map(([, name, text]) => [name, { default: text ?? '' }]))
}

test('.env.example names only existing settings and variables of compose.yaml, with their defaults', async () => {
  const example = await read('.env.example')
  const given = [...example.matchAll(/^#?([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value])
  const settings: Record<string, { default: string }> = { ...(await composeVariables()), ...PRODUCER, ...CONSUMER }
  assert.ok(given.length > 5)
  assert.deepEqual(
    given,
    given.map(([name]) => [name, settings[name ?? '']?.default]),
  )
})

test('.env.example names every variable of compose.yaml', async () => {
  const example = await read('.env.example')
  const missing = Object.keys(await composeVariables()).filter((name) => !new RegExp(`^#?${name}=`, 'm').test(example))
  assert.deepEqual(missing, [])
})
