/**
 * Makes `pokedex.json`, the bundled Pokédex, from a folder of real PokeAPI bodies (`1.json`, `2.json`, … `10326.json`):
 * `node dev/make-pokedex.ts FOLDER DATE`, where DATE is the day on which PokeAPI published them.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pickPokemon } from '@poke-api-pipeline/pokemon-event'

/** PokeAPI's ids of types, for the URLs in a body. */
type TypeIds = Record<string, number>

/** The facts that the pipeline needs, and nothing else of the bodies. */
export interface Pokedex {
  readonly source: string
  readonly license: string
  readonly types: TypeIds
  /** Id, name, and types by slot from 1; ascending ids. */
  readonly pokemon: readonly (readonly [id: number, name: string, types: readonly string[]])[]
}

/** @throws Error where a body is not a Pokémon, or its slots are not 1, 2, … */
export async function makePokedex(folder: string, date: string): Promise<Pokedex> {
  const ids = (await readdir(folder))
    .filter((file) => /^\d+\.json$/.test(file))
    .map((file) => Number.parseInt(file, 10))
    .sort((a, b) => a - b)
  const typeIds = new Map<string, number>()
  const pokemon: [number, string, string[]][] = []
  for (const id of ids) {
    const file = join(folder, `${id}.json`)
    const body = JSON.parse(await readFile(file, 'utf8'))
    const picked = pickPokemon(body)
    if (picked === null || picked.id !== id || picked.types.some(({ slot }, index) => slot !== index + 1)) {
      throw new Error(`${file} is not the body of Pokémon ${id} with the slots 1, 2, …: the Pokédex was not written.`)
    }
    for (const { type } of body.types) typeIds.set(type.name, Number(/\/type\/(\d+)\/$/.exec(type.url)?.[1]))
    pokemon.push([id, picked.name, picked.types.map(({ type }) => type.name)])
  }
  return {
    source: `PokeAPI/api-data, BSD-3-Clause, ${date}`,
    license:
      'Facts (ids, names, types) taken from PokeAPI/api-data, Copyright (c) Paul Hallett and PokéAPI contributors, ' +
      'BSD 3-Clause License. Pokémon and Pokémon character names are trademarks of Nintendo.',
    types: Object.fromEntries([...typeIds].sort(([, a], [, b]) => a - b)),
    pokemon,
  }
}

/** One Pokémon a line, so that a diff shows what has changed. */
export function formatPokedex({ source, license, types, pokemon }: Pokedex): string {
  const head = [`"source":${JSON.stringify(source)}`, `"license":${JSON.stringify(license)}`, `"types":${JSON.stringify(types)}`]
  return `{\n${head.join(',\n')},\n"pokemon":[\n${pokemon.map((entry) => JSON.stringify(entry)).join(',\n')}\n]}\n`
}

if (import.meta.main) {
  const [folder, date] = process.argv.slice(2)
  if (folder === undefined || date === undefined) {
    console.error('Usage: node dev/make-pokedex.ts FOLDER DATE, with the folder of bodies and the day of their publication (2026-08-08)')
    process.exit(64)
  }
  const pokedex = await makePokedex(folder, date)
  await writeFile(new URL('pokedex.json', import.meta.url), formatPokedex(pokedex))
  console.log(`dev/pokedex.json: ${pokedex.pokemon.length} Pokémon`)
}
