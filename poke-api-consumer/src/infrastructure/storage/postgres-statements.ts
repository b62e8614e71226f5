/** The SQL of the PostgreSQL store. Every change is one statement, so a client that freezes never holds a transaction open. */
import { deadLetterPageSql } from './dead-letter-page.ts'
import type { Statement } from './postgres-database.ts'

const named = <K extends string>(texts: Record<K, string>): Record<K, Statement> =>
  Object.fromEntries(Object.entries<string>(texts).map(([name, text]) => [name, { name, text }])) as Record<K, Statement>

const time = (column: string) => `(extract(epoch FROM ${column}) * 1000)::bigint`
const deadLetterBytes = 'coalesce(octet_length(key), 0) + coalesce(octet_length(value), 0) + octet_length(headers)'
const deadLetterColumns = `dead_letters.id, dead_letters.record_offset, dead_letters.leader_epoch, dead_letters.record_timestamp::text, dead_letters.reason, dead_letters.state,
  dead_letters.key, dead_letters.headers, dead_letters.value, dead_letters.cut, partitions.topic, partitions.topic_id, partitions.partition`

export const STATEMENTS = named({
  // A topic is accepted at once where its name is new to the group (rule S4).
  meetTopic: `
    INSERT INTO topics (group_id, topic_id, topic, accepted)
    SELECT $1, $2, $3, CASE WHEN NOT EXISTS (SELECT FROM topics WHERE group_id = $1 AND topic = $3) THEN 1 END
    WHERE NOT EXISTS (SELECT FROM topics WHERE group_id = $1 AND topic_id = $2)
    ON CONFLICT DO NOTHING`,

  // Waits for the commit that is running, and fences every later commit under an older token.
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

  // Reads position and last sequences in one snapshot, after the token was taken, so no commit under an older token can come between.
  state: `
    SELECT partitions.position, partitions.leader_epoch,
      (SELECT topic_id FROM topics
        WHERE group_id = partitions.group_id AND topic = partitions.topic AND accepted IS NOT NULL
          AND (SELECT accepted FROM topics WHERE group_id = partitions.group_id AND topic_id = partitions.topic_id) IS NULL
        ORDER BY accepted DESC LIMIT 1) AS replaced_topic_id,
      last_sequences.source, last_sequences.sequence
    FROM partitions LEFT JOIN last_sequences ON last_sequences.partition_id = partitions.id
    WHERE partitions.id = $1`,

  // Every other part depends on `moved`: where the position did not move, nothing changes (rules S1 and S3).
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
      -- A source that was never seen before may replace another one (rule C3). The rows of this commit are not visible yet, so the bound leaves
      -- room for them.
      DELETE FROM last_sequences known USING moved
      WHERE (SELECT number FROM new_sources) > 0 AND known.partition_id = moved.id AND known.source <> ALL ($14::bytea[]) AND (
        ($25 AND known.updated_at < now() - $16 * interval '1 ms')
        OR known.source IN (
          SELECT source FROM last_sequences WHERE partition_id = (SELECT id FROM moved) AND source <> ALL ($14::bytea[])
          ORDER BY updated_at DESC, source OFFSET greatest(0, $17::integer - cardinality($14::bytea[]))))
      RETURNING $25 AND known.updated_at < now() - $16 * interval '1 ms' AS silent
    ), new_dead_letters AS (
      -- Dead letters (rule D1). After a reset the same record may come again: it replaces the row, with its timestamp, which earlier versions
      -- have rounded.
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

  // Moves the position behind the gap. Where the gap has no end ($9 is null), the position stays.
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
  // At most $4 dead letters behind an offset and epoch.
  snapshotDeadLetters: `
    SELECT record_offset, leader_epoch, reason, state, cut FROM dead_letters
    WHERE partition_id = $1 AND state <> 'superseded' AND (record_offset, leader_epoch) > ($2, $3)
    ORDER BY record_offset, leader_epoch LIMIT $4`,

  // Locks the rows that every commit and replay needs. The statements after it see everything that was committed before.
  resetPartitions: `
    UPDATE partitions SET token = token + 1, revision = revision + 1, position = NULL, leader_epoch = -1, first_offset = NULL,
      counted = 0, duplicates = 0, dead_letters = 0, newest = NULL
    WHERE group_id = $1 RETURNING id`,
  resetCounts: 'DELETE FROM counts WHERE partition_id = ANY ($1::bigint[])',
  resetSequences: 'DELETE FROM last_sequences WHERE partition_id = ANY ($1::bigint[])',
  resetGaps: 'DELETE FROM gaps WHERE partition_id = ANY ($1::bigint[])',
  resetDeadLetters: `UPDATE dead_letters SET state = 'superseded' WHERE partition_id = ANY ($1::bigint[]) AND state <> 'superseded'`,
  resetTopics: 'DELETE FROM topics WHERE group_id = $1',

  newestDeadLetters: deadLetterPageSql({
    columns: deadLetterColumns,
    // First the newest of each partition by their index, then the newest of these: few rows are read, however many there are.
    candidates: `SELECT newest.id, newest.size FROM partitions, LATERAL (
        SELECT id, ${deadLetterBytes} AS size FROM dead_letters
        WHERE partition_id = partitions.id AND id < $2 AND state IN ('kept', 'published') ORDER BY id DESC LIMIT $3) newest
      WHERE partitions.group_id = $1 ORDER BY newest.id DESC LIMIT $3`,
    order: 'id DESC',
    maxBytes: '$4',
  }),

  unpublished: deadLetterPageSql({
    columns: deadLetterColumns,
    candidates: `SELECT id, record_offset, leader_epoch, ${deadLetterBytes} AS size FROM dead_letters
      WHERE partition_id = (SELECT id FROM partitions WHERE group_id = $1 AND topic_id = $2 AND partition = $3) AND state = 'kept'
      ORDER BY record_offset, leader_epoch LIMIT $4`,
    order: 'record_offset, leader_epoch',
    maxBytes: '$5',
  }),

  deadLetterReasons: `
    SELECT dead_letters.reason, count(*) AS number FROM dead_letters JOIN partitions ON partitions.id = dead_letters.partition_id
    WHERE partitions.group_id = $1 AND dead_letters.state IN ('kept', 'published') GROUP BY dead_letters.reason ORDER BY dead_letters.reason COLLATE "C"`,

  markPublished: `
    UPDATE dead_letters SET state = 'published' FROM partitions
    WHERE dead_letters.id = ANY ($2::bigint[]) AND dead_letters.state = 'kept' AND partitions.id = dead_letters.partition_id AND partitions.group_id = $1`,

  // Each part depends on the part before it. So a dead letter is counted once, whoever else replays it; and the partition's row is locked
  // before the counts, in the same order as in a commit: the other order could deadlock.
  replay: `
    WITH revived AS (
      UPDATE dead_letters SET state = 'counted' FROM partitions
      WHERE dead_letters.id = $2 AND dead_letters.state IN ('kept', 'published') AND partitions.id = dead_letters.partition_id AND partitions.group_id = $1
      RETURNING dead_letters.partition_id
    ), moved AS (
      UPDATE partitions SET revision = revision + 1, counted = counted + 1, dead_letters = dead_letters - 1 FROM revived
      WHERE partitions.id = revived.partition_id
      RETURNING partitions.id
    ), added AS (
      INSERT INTO counts AS known (partition_id, type, count)
      SELECT moved.id, given.type, given.count FROM moved, unnest($3::text[], $4::bigint[]) AS given (type, count)
      ON CONFLICT (partition_id, type) DO UPDATE SET count = known.count + excluded.count
    )
    SELECT id FROM moved`,

  // A counted or superseded dead letter keeps its state, because verify needs it.
  purge: `
    UPDATE dead_letters SET purged_at = now(), key = NULL, headers = NULL, value = NULL, cut = NULL,
      state = CASE WHEN dead_letters.state IN ('counted', 'superseded') THEN dead_letters.state ELSE 'purged' END
    FROM partitions
    WHERE partitions.id = dead_letters.partition_id AND partitions.group_id = $1 AND dead_letters.state = ANY ($2::text[]) AND dead_letters.purged_at IS NULL
      AND dead_letters.kept_at < to_timestamp($3::double precision / 1000)`,
})
