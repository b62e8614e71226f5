/** The SQL of the PostgreSQL store. What changes something is one statement, so that a frozen client never holds a transaction open. */
import { lettersWithin } from './letters-within.ts'
import type { Statement } from './postgres-database.ts'

const named = <K extends string>(texts: Record<K, string>): Record<K, Statement> =>
  Object.fromEntries(Object.entries<string>(texts).map(([name, text]) => [name, { name, text }])) as Record<K, Statement>

const time = (column: string) => `(extract(epoch FROM ${column}) * 1000)::bigint`
const letterBytes = 'coalesce(octet_length(key), 0) + coalesce(octet_length(value), 0) + octet_length(headers)'
const letterColumns = `letters.id, letters.record_offset, letters.leader_epoch, letters.record_timestamp::text, letters.reason, letters.state,
  letters.key, letters.headers, letters.value, letters.cut, partitions.topic, partitions.topic_id, partitions.partition`

export const STATEMENTS = named({
  // Accepted at once where the name is new to the group (rule S4).
  meetTopic: `
    INSERT INTO topics (group_id, topic_id, topic, accepted)
    SELECT $1, $2, $3, CASE WHEN NOT EXISTS (SELECT FROM topics WHERE group_id = $1 AND topic = $3) THEN 1 END
    WHERE NOT EXISTS (SELECT FROM topics WHERE group_id = $1 AND topic_id = $2)
    ON CONFLICT DO NOTHING`,

  // Waits for a commit under way, and fences all that come later.
  own: `
    INSERT INTO partitions (group_id, topic, topic_id, partition, token, owner, opened_at) VALUES ($1, $2, $3, $4, 1, $5, now())
    ON CONFLICT (group_id, topic_id, partition) DO UPDATE
      SET token = partitions.token + 1, owner = excluded.owner, opened_at = excluded.opened_at
    RETURNING id, token`,

  // $2: the greatest number of sources.
  forgetTooMany: `
    WITH forgotten AS (
      DELETE FROM last_sequences WHERE partition_id = $1
        AND source IN (SELECT source FROM last_sequences WHERE partition_id = $1 ORDER BY updated_at DESC, source OFFSET $2)
      RETURNING 1
    )
    SELECT 0 AS silent, count(*) AS too_many FROM forgotten`,

  // Position and last sequences in one snapshot, taken after the token: no older commit can fall between them.
  state: `
    SELECT partitions.position, partitions.leader_epoch,
      (SELECT topic_id FROM topics
        WHERE group_id = partitions.group_id AND topic = partitions.topic AND accepted IS NOT NULL
          AND (SELECT accepted FROM topics WHERE group_id = partitions.group_id AND topic_id = partitions.topic_id) IS NULL
        ORDER BY accepted DESC LIMIT 1) AS replaced_topic_id,
      last_sequences.source, last_sequences.sequence
    FROM partitions LEFT JOIN last_sequences ON last_sequences.partition_id = partitions.id
    WHERE partitions.id = $1`,

  // Everything else follows from `moved`: where it has no row, nothing changes (rules S1 and S3).
  commit: `
    WITH moved AS (
      UPDATE partitions SET position = $7, leader_epoch = $8, first_offset = coalesce(first_offset, $9), revision = revision + 1,
        counted = counted + $10, duplicates = duplicates + $11, dead_letters = dead_letters + cardinality($18::bigint[]), committed_at = now(),
        newest = coalesce($27, newest)
      WHERE group_id = $1 AND topic_id = $2 AND partition = $3 AND token = $4 AND position IS NOT DISTINCT FROM $5 AND leader_epoch = $6
        AND $7 > coalesce(position, $9)
      RETURNING id
    ), added AS (
      INSERT INTO counts AS known (partition_id, type, count)
      SELECT moved.id, given.type, given.count FROM moved, unnest($12::text[], $13::bigint[]) AS given (type, count)
      ON CONFLICT (partition_id, type) DO UPDATE SET count = known.count + excluded.count
    ), new_sources AS (
      SELECT count(*) AS number FROM moved, unnest($14::bytea[]) AS given (source)
      WHERE NOT EXISTS (SELECT FROM last_sequences known WHERE known.partition_id = moved.id AND known.source = given.source)
    ), sequences AS (
      INSERT INTO last_sequences (partition_id, source, sequence, updated_at)
      SELECT moved.id, given.source, given.sequence, now() FROM moved, unnest($14::bytea[], $15::bigint[]) AS given (source, sequence)
      ON CONFLICT (partition_id, source) DO UPDATE SET sequence = excluded.sequence, updated_at = excluded.updated_at
    ), forgotten AS (
      -- A source never seen before may push out another one (rule C3). The rows of this commit are not visible yet: room is left for them.
      DELETE FROM last_sequences known USING moved
      WHERE (SELECT number FROM new_sources) > 0 AND known.partition_id = moved.id AND known.source <> ALL ($14::bytea[]) AND (
        ($25 AND known.updated_at < now() - $16 * interval '1 ms')
        OR known.source IN (
          SELECT source FROM last_sequences WHERE partition_id = (SELECT id FROM moved) AND source <> ALL ($14::bytea[])
          ORDER BY updated_at DESC, source OFFSET greatest(0, $17::integer - cardinality($14::bytea[]))))
      RETURNING $25 AND known.updated_at < now() - $16 * interval '1 ms' AS silent
    ), letters AS (
      -- A dead letter (rule D1). One that is met again after a reset is kept anew, its timestamp too: earlier versions have rounded it.
      INSERT INTO dead_letters (partition_id, record_offset, leader_epoch, record_timestamp, reason, state, kept_at, key, headers, value, cut)
      SELECT moved.id, given.record_offset, given.leader_epoch, given.record_timestamp, given.reason, 'kept', now(), given.key, given.headers,
        given.value, given.cut
      FROM moved, unnest($18::bigint[], $19::integer[], $20::bigint[], $21::text[], $22::bytea[], $23::bytea[], $24::bytea[],
          $26::text[]) AS given (record_offset, leader_epoch, record_timestamp, reason, key, headers, value, cut)
      ORDER BY given.record_offset
      ON CONFLICT (partition_id, record_offset, leader_epoch) DO UPDATE SET record_timestamp = excluded.record_timestamp,
        reason = excluded.reason, state = 'kept', kept_at = excluded.kept_at, purged_at = NULL, key = excluded.key, headers = excluded.headers,
        value = excluded.value, cut = excluded.cut
    )
    SELECT (SELECT count(*) FROM moved) AS moved, (SELECT count(*) FROM forgotten WHERE silent) AS silent,
      (SELECT count(*) FROM forgotten WHERE NOT silent) AS too_many`,

  revision: 'SELECT coalesce(sum(revision), 0)::bigint AS revision FROM partitions WHERE group_id = $1',

  // One statement is one snapshot; its row without a type has the revision.
  totals: `
    SELECT NULL AS type, coalesce(sum(revision), 0)::bigint AS number FROM partitions WHERE group_id = $1
    UNION ALL
    SELECT counts.type, sum(counts.count)::bigint FROM counts JOIN partitions ON partitions.id = counts.partition_id
    WHERE partitions.group_id = $1 GROUP BY counts.type`,

  partitions: `
    SELECT id, topic, topic_id, partition, owner, position, leader_epoch, first_offset, counted, duplicates, dead_letters, newest,
      ${time('committed_at')} AS committed_at
    FROM partitions WHERE group_id = $1 ORDER BY topic COLLATE "C", topic_id COLLATE "C", partition`,

  // Behind the gap, or, where there is no place behind it ($9 null), where it was.
  recordGap: `
    WITH moved AS (
      UPDATE partitions SET token = token + 1, revision = revision + 1, position = coalesce($9, position),
        leader_epoch = CASE WHEN $9 IS NULL THEN leader_epoch ELSE -1 END, first_offset = coalesce(first_offset, $9)
      WHERE group_id = $1 AND topic_id = $2 AND partition = $3 AND token = $4 AND position IS NOT DISTINCT FROM $5 AND leader_epoch = $6
      RETURNING id, group_id, topic_id
    ), accepted AS (
      UPDATE topics SET accepted = (SELECT 1 + max(known.accepted) FROM topics known WHERE known.group_id = $1 AND known.topic = topics.topic)
      FROM moved
      WHERE $7 = 'recreated' AND topics.group_id = moved.group_id AND topics.topic_id = moved.topic_id AND topics.accepted IS NULL
    )
    INSERT INTO gaps (partition_id, kind, message, from_offset, to_offset, recorded_at)
    SELECT id, $7, $8, $10, $11, now() FROM moved
    RETURNING id`,

  snapshotCounts: `
    SELECT counts.partition_id, counts.type, counts.count FROM counts JOIN partitions ON partitions.id = counts.partition_id
    WHERE partitions.group_id = $1 ORDER BY counts.type COLLATE "C"`,
  snapshotGaps: `
    SELECT gaps.partition_id, gaps.kind, gaps.message, gaps.from_offset AS "from", gaps.to_offset AS "to", ${time('gaps.recorded_at')} AS recorded_at
    FROM gaps JOIN partitions ON partitions.id = gaps.partition_id WHERE partitions.group_id = $1 ORDER BY gaps.id`,
  // Those behind an offset and epoch, $4 at most.
  snapshotLetters: `
    SELECT record_offset, leader_epoch, reason, state, cut FROM dead_letters
    WHERE partition_id = $1 AND state <> 'superseded' AND (record_offset, leader_epoch) > ($2, $3)
    ORDER BY record_offset, leader_epoch LIMIT $4`,

  // First the rows that every commit and replay needs; what follows sees all that was committed before they were had.
  resetPartitions: `
    UPDATE partitions SET token = token + 1, revision = revision + 1, position = NULL, leader_epoch = -1, first_offset = NULL,
      counted = 0, duplicates = 0, dead_letters = 0, newest = NULL
    WHERE group_id = $1 RETURNING id`,
  resetCounts: 'DELETE FROM counts WHERE partition_id = ANY ($1::bigint[])',
  resetSequences: 'DELETE FROM last_sequences WHERE partition_id = ANY ($1::bigint[])',
  resetGaps: 'DELETE FROM gaps WHERE partition_id = ANY ($1::bigint[])',
  resetLetters: `UPDATE dead_letters SET state = 'superseded' WHERE partition_id = ANY ($1::bigint[]) AND state <> 'superseded'`,
  resetTopics: 'DELETE FROM topics WHERE group_id = $1',

  newestLetters: lettersWithin({
    columns: letterColumns,
    // The newest of each partition by their index, then the newest of those: however many there are, few are read.
    chosen: `SELECT newest.id, newest.size FROM partitions, LATERAL (
        SELECT id, ${letterBytes} AS size FROM dead_letters
        WHERE partition_id = partitions.id AND id < $2 AND state IN ('kept', 'published') ORDER BY id DESC LIMIT $3) newest
      WHERE partitions.group_id = $1 ORDER BY newest.id DESC LIMIT $3`,
    order: 'id DESC',
    most: '$4',
  }),

  unpublished: lettersWithin({
    columns: letterColumns,
    chosen: `SELECT id, record_offset, leader_epoch, ${letterBytes} AS size FROM dead_letters
      WHERE partition_id = (SELECT id FROM partitions WHERE group_id = $1 AND topic_id = $2 AND partition = $3) AND state = 'kept'
      ORDER BY record_offset, leader_epoch LIMIT $4`,
    order: 'record_offset, leader_epoch',
    most: '$5',
  }),

  letterReasons: `
    SELECT letters.reason, count(*) AS letters FROM dead_letters letters JOIN partitions ON partitions.id = letters.partition_id
    WHERE partitions.group_id = $1 AND letters.state IN ('kept', 'published') GROUP BY letters.reason ORDER BY letters.reason COLLATE "C"`,

  markPublished: `
    UPDATE dead_letters letters SET state = 'published' FROM partitions
    WHERE letters.id = ANY ($2::bigint[]) AND letters.state = 'kept' AND partitions.id = letters.partition_id AND partitions.group_id = $1`,

  // From dead to counted once, whoever else tries: everything else follows from `letter`. And each from the one before, since counts
  // without the partition's row would be a deadlock with a commit, which takes them the other way round.
  replay: `
    WITH letter AS (
      UPDATE dead_letters letters SET state = 'counted' FROM partitions
      WHERE letters.id = $2 AND letters.state IN ('kept', 'published') AND partitions.id = letters.partition_id AND partitions.group_id = $1
      RETURNING letters.partition_id
    ), moved AS (
      UPDATE partitions SET revision = revision + 1, counted = counted + 1, dead_letters = dead_letters - 1 FROM letter
      WHERE partitions.id = letter.partition_id
      RETURNING partitions.id
    ), added AS (
      INSERT INTO counts AS known (partition_id, type, count)
      SELECT moved.id, given.type, given.count FROM moved, unnest($3::text[], $4::bigint[]) AS given (type, count)
      ON CONFLICT (partition_id, type) DO UPDATE SET count = known.count + excluded.count
    )
    SELECT id FROM moved`,

  // What was counted stays counted: verify needs to know it.
  purge: `
    UPDATE dead_letters letters SET purged_at = now(), key = NULL, headers = NULL, value = NULL, cut = NULL,
      state = CASE WHEN letters.state IN ('counted', 'superseded') THEN letters.state ELSE 'purged' END
    FROM partitions
    WHERE partitions.id = letters.partition_id AND partitions.group_id = $1 AND letters.state = ANY ($2::text[]) AND letters.purged_at IS NULL
      AND letters.kept_at < to_timestamp($3::double precision / 1000)`,
})
