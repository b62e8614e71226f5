/** Counts the output of Kafka's console consumer, independently of the system under test. */

export type Counts = Readonly<Record<string, number>>

/**
 * @param printed lines of `name:value,name:value<tab>{"id":…}`, headers and value
 * @returns types by name, each event counted once however often it was sent
 */
export function countTopic(printed: string): Counts {
  const seen = new Set<string>()
  const counts: Record<string, number> = {}
  for (const line of printed.split('\n')) {
    const [headers, value] = line.split('\t')
    if (headers === undefined || value === undefined) continue
    const source = /ce_source:([^,]+)/.exec(headers)?.[1]
    const sequence = /ce_sequence:(\d+)/.exec(headers)?.[1]
    if (source !== undefined && sequence !== undefined) {
      if (seen.has(`${source} ${sequence}`)) continue
      seen.add(`${source} ${sequence}`)
    }
    for (const { type } of JSON.parse(value).types) counts[type.name] = (counts[type.name] ?? 0) + 1
  }
  return counts
}
