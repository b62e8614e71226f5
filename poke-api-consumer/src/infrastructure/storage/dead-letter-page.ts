/** The query for a page of dead letters whose bytes fit in memory: the same in both databases. */

export interface DeadLetterPage {
  /** The columns of the result, of `dead_letters` and `partitions`. */
  readonly columns: string
  /** A SELECT of the candidates: `id`, the columns of `order`, and `size` in bytes. */
  readonly candidates: string
  readonly order: string
  /** The placeholder of the greatest number of bytes. */
  readonly maxBytes: string
}

/** @returns SQL for the first candidates whose sizes add up to `maxBytes` at most. The first one is always included. */
export function deadLetterPageSql({ columns, candidates, order, maxBytes }: DeadLetterPage): string {
  return `
    WITH sized AS (
      SELECT id, row_number() OVER before AS place, sum(size) OVER before AS bytes
      FROM (${candidates}) candidates
      WINDOW before AS (ORDER BY ${order})
    )
    SELECT ${columns} FROM sized JOIN dead_letters USING (id) JOIN partitions ON partitions.id = dead_letters.partition_id
    WHERE sized.place = 1 OR sized.bytes <= ${maxBytes}
    ORDER BY sized.place`
}
