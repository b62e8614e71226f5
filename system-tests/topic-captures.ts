/** The captures in a topic, counted by rule C2: each counts once, and none is dropped as a duplicate of another. */
import assert from 'node:assert/strict'
import { HEADER } from '@poke-api-pipeline/pokemon-event'
import { readTopic } from './test/read-topic.ts'

export interface TopicCaptures {
  /** How often each Pokémon is counted, by id. */
  readonly pokemon: ReadonlyMap<number, number>
  /** The counts by type, in alphabetical order, if each capture counts once. */
  readonly types: Readonly<Record<string, number>>
  readonly captures: number
  /** Records that repeat an earlier one. */
  readonly duplicates: number
  /** Records of each partition. */
  readonly records: readonly number[]
}

/** Reads a topic to its end. @throws if a capture is in two partitions, has different bytes each time, or is dropped as a duplicate of another */
export async function topicCaptures(brokers: string, topic: string): Promise<TopicCaptures> {
  const logs = await readTopic(brokers, topic)
  const seen = new Map<string, string>()
  const pokemon = new Map<number, number>()
  const types = new Map<string, number>()
  let duplicates = 0
  for (const [partition, log] of logs.entries()) {
    const last = new Map<string, number>()
    for (const { key, value, headers } of log) {
      const source = headers.get(HEADER.source) ?? ''
      const sequence = Number(headers.get(HEADER.sequence))
      const identity = `${source} ${sequence}`
      const content = `partition ${partition}, key ${key}, ${value}, of ${headers.get(HEADER.time)}`
      const before = seen.get(identity)
      if (before !== undefined) assert.equal(content, before, `${identity} stands for two captures`)
      if (sequence <= (last.get(source) ?? 0)) {
        assert.ok(before !== undefined, `${identity} in ${topic} is dropped as a duplicate, and was not there before`)
        duplicates++
        continue
      }
      seen.set(identity, content)
      last.set(source, sequence)
      pokemon.set(Number(key), (pokemon.get(Number(key)) ?? 0) + 1)
      for (const { type } of JSON.parse(String(value)).types) types.set(type.name, (types.get(type.name) ?? 0) + 1)
    }
  }
  return {
    pokemon,
    types: Object.fromEntries([...types].sort(([a], [b]) => (a < b ? -1 : 1))),
    captures: seen.size,
    duplicates,
    records: logs.map((log) => log.length),
  }
}
