/**
 * Keeps the orders of a topic in a table of PostgreSQL, each exactly once. The rows and the position after them are committed in one
 * transaction, so it may be killed at any moment and started again, and any number of these processes share the topic's partitions.
 * Where the database fails, the process ends with the error: have it started again, as by systemd or Kubernetes.
 *
 *   node orders.js localhost:9092 orders postgres://localhost/shop        (npm install pg)
 *
 * A record's key is the customer, its value is JSON: {"item": "tea", "quantity": 2}
 */
import { readTopic } from '@poke-api-pipeline/kafka-reader'
import pg from 'pg'

const [brokers = 'localhost:9092', topic = 'orders', url = 'postgres://localhost/shop'] = process.argv.slice(2)
const TABLES = `
  CREATE TABLE IF NOT EXISTS orders (customer text, item text NOT NULL, quantity integer NOT NULL);
  CREATE TABLE IF NOT EXISTS order_positions (
    topic_id text, partition integer, next_offset bigint, leader_epoch integer, PRIMARY KEY (topic_id, partition)
  )`
const ADD_POSITION = 'INSERT INTO order_positions (topic_id, partition) VALUES ($1, $2) ON CONFLICT DO NOTHING'
const GET_POSITION = 'SELECT next_offset, leader_epoch FROM order_positions WHERE topic_id = $1 AND partition = $2'
// Only from where this process believes it to be: another one may read the partition by now, or the log may be another one. Until the commit, it waits.
const MOVE_POSITION = `UPDATE order_positions SET next_offset = $3, leader_epoch = $4
  WHERE topic_id = $1 AND partition = $2 AND (next_offset, leader_epoch) IS NOT DISTINCT FROM ($5::bigint, $6::integer)`
const ADD_ORDERS = 'INSERT INTO orders SELECT * FROM unnest($1::text[], $2::text[], $3::integer[])'

const pool = new pg.Pool({ connectionString: url })
await pool.query(TABLES)
const stop = new AbortController()
process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort())

await readTopic(
  {
    brokers: brokers.split(','),
    topic,
    groupId: `orders-${topic}`,
    sessionTimeout: Number(process.env.SESSION_TIMEOUT ?? 10_000),
    report: console.error,
    load: async ({ topicId, partition }) => {
      await pool.query(ADD_POSITION, [topicId, partition])
      const { next_offset: offset, leader_epoch: leaderEpoch } = (await pool.query(GET_POSITION, [topicId, partition])).rows[0]
      return offset === null ? null : { offset: Number(offset), leaderEpoch }
    },
    save: async ({ topicId, partition, records, from, to }) => {
      const orders = records.map(({ key, value }) => ({ customer: key?.toString(), ...JSON.parse(value?.toString() ?? '') }))
      const client = await pool.connect()
      await client.query('BEGIN')
      const before = [from?.offset ?? null, from?.leaderEpoch ?? null]
      const moved = await client.query(MOVE_POSITION, [topicId, partition, to.offset, to.leaderEpoch, ...before])
      const column = (/** @type {string} */ name) => orders.map((order) => order[name])
      if (moved.rowCount === 1) await client.query(ADD_ORDERS, [column('customer'), column('item'), column('quantity')])
      await client.query(moved.rowCount === 1 ? 'COMMIT' : 'ROLLBACK')
      client.release()
      return moved.rowCount === 1
    },
  },
  stop.signal,
)
await pool.end()
