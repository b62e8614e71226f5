/**
 * Counts the records of a topic by their keys, exactly once. The counts and the positions are in one SQLite database and change in one
 * transaction, so it may be killed at any moment and started again.
 *
 *   node count-keys.js localhost:9092 my-topic counts.db
 *   sqlite3 counts.db 'SELECT key, count FROM counts ORDER BY count DESC'
 */
import { DatabaseSync } from 'node:sqlite'
import { readTopic } from '@poke-api-pipeline/kafka-reader'

const [brokers = 'localhost:9092', topic = 'my-topic', file = 'counts.db'] = process.argv.slice(2)

const db = new DatabaseSync(file, { timeout: 5000 })
db.exec(`
  PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS counts (key TEXT PRIMARY KEY, count INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS positions (
    topic_id TEXT, partition INTEGER, next_offset INTEGER, leader_epoch INTEGER,
    PRIMARY KEY (topic_id, partition)
  );
`)
const addPosition = db.prepare('INSERT INTO positions (topic_id, partition) VALUES (?, ?) ON CONFLICT DO NOTHING')
const getPosition = db.prepare('SELECT next_offset, leader_epoch FROM positions WHERE topic_id = ? AND partition = ?')
// Only from where this process believes it to be: another one may read the partition by now, or the log may be another one.
const movePosition = db.prepare(`
  UPDATE positions SET next_offset = ?, leader_epoch = ? WHERE topic_id = ? AND partition = ? AND next_offset IS ? AND leader_epoch IS ?
`)
const count = db.prepare('INSERT INTO counts VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1')

const stop = new AbortController()
process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort())

await readTopic(
  {
    brokers: brokers.split(','),
    topic,
    groupId: `count-keys-${topic}`,
    sessionTimeout: Number(process.env.SESSION_TIMEOUT ?? 10_000),
    report: console.error,
    load: ({ topicId, partition }) => {
      addPosition.run(topicId, partition)
      const row = getPosition.get(topicId, partition)
      return row?.next_offset == null ? null : { offset: Number(row.next_offset), leaderEpoch: Number(row.leader_epoch) }
    },
    save: ({ topicId, partition, records, from, to }) => {
      db.exec('BEGIN IMMEDIATE')
      const { changes } = movePosition.run(to.offset, to.leaderEpoch, topicId, partition, from?.offset ?? null, from?.leaderEpoch ?? null)
      const moved = changes === 1
      if (moved) for (const { key } of records) count.run(key === null ? '(no key)' : key.toString())
      db.exec(moved ? 'COMMIT' : 'ROLLBACK')
      return moved
    },
  },
  stop.signal,
)
db.close()
