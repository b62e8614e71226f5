/** Fills topics with records like the producer's, and returns the right counts. */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Kafka } from '@poke-api-pipeline/dev'
import type { Pokedex } from '@poke-api-pipeline/dev/make-pokedex'
import { encodeKey, encodeValue } from '@poke-api-pipeline/pokemon-event'
import { java } from './java.ts'

export interface Load {
  readonly records: number
  readonly partitions: number
  readonly codec: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
  /** `real`: the values of all Pokémon, again and again; `distinct`: each record has an id of its own, so that no two values are equal. */
  readonly values: 'real' | 'distinct'
}

export interface LoadedTopic extends Load {
  readonly topic: string
  /** By type name. */
  readonly exactCounts: ReadonlyMap<string, number>
}

/**
 * Makes the topic and fills it through the reference client.
 * @throws if the broker refuses it, or runs in a container: then there are no jars to load it with
 */
export async function loadTopic(kafka: Kafka, topic: string, load: Load): Promise<LoadedTopic> {
  const pokedex = JSON.parse(await readFile(fileURLToPath(import.meta.resolve('@poke-api-pipeline/dev/pokedex.json')), 'utf8')) as Pokedex
  const pokemon = pokedex.pokemon.map(([id, name, types]) => ({
    id,
    name,
    types: types.map((type, index) => ({ slot: index + 1, type: { name: type } })),
  }))
  const values = join(tmpdir(), `pokemon-values-${process.pid}.tsv`)
  await writeFile(values, pokemon.map((one) => `${encodeKey(one)}\t${encodeValue(one)}\n`).join(''))
  try {
    const { records, partitions, codec } = load
    const loader = fileURLToPath(new URL('java/LoadTopic.java', import.meta.url))
    await java(kafka, [loader, kafka.brokers, topic, String(partitions), codec, String(records), values, load.values])
  } finally {
    await rm(values)
  }
  const exactCounts = new Map<string, number>()
  pokemon.forEach(({ types }, index) => {
    const times = Math.ceil((load.records - index) / pokemon.length)
    for (const { type } of types) exactCounts.set(type.name, (exactCounts.get(type.name) ?? 0) + times)
  })
  return { ...load, topic, exactCounts }
}
