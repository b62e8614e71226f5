/** Dead letters as far as their bytes may be in memory at once: the same statement in both databases. */

export interface LettersWithin {
  /** What is given of each, of `letters` and `partitions`. */
  readonly columns: string
  /** Those that are asked for: a SELECT of `id`, of what they are ordered by, and of `size` in bytes. */
  readonly chosen: string
  readonly order: string
  /** So many bytes at most, as a placeholder. */
  readonly most: string
}

/** The sizes of those before a letter must leave room for it; the first one always fits. */
export function lettersWithin({ columns, chosen, order, most }: LettersWithin): string {
  return `
    WITH waiting AS (
      SELECT id, row_number() OVER before AS place, sum(size) OVER before AS bytes
      FROM (${chosen}) chosen
      WINDOW before AS (ORDER BY ${order})
    )
    SELECT ${columns} FROM waiting JOIN dead_letters letters USING (id) JOIN partitions ON partitions.id = letters.partition_id
    WHERE waiting.place = 1 OR waiting.bytes <= ${most}
    ORDER BY waiting.place`
}
