/** `take-group`: makes the group count into the store of these settings instead of its present store. */

import { kafkaSecurity } from '@poke-api-pipeline/kafka-common'
import {
  Cluster,
  claimMetadata,
  type GroupOffset,
  KafkaError,
  nobodyOf,
  type Positions,
  storeOfGroup,
} from '@poke-api-pipeline/kafka-reader'
import { type CommandInput, EXIT, printable } from '@poke-api-pipeline/service-kit'
import type { Config } from '../config.ts'
import { OwnKafkaError } from '../errors.ts'
import { withRemedies } from '../infrastructure/kafka-remedies.ts'
import type { Terminal } from '../infrastructure/terminal/terminal.ts'
import { DECLINED, isConfirmed } from './consent.ts'
import { commandConfig, storeName, withExistingStore } from './existing-store.ts'

/** Asks first. It changes only the store's name beside the group's offsets. The offsets stay until the new store counts and replaces them. */
export async function takeGroup({ options, env }: CommandInput, terminal: Terminal): Promise<number> {
  const config = commandConfig(env, terminal)
  const { KAFKA_GROUP_ID: groupId, KAFKA_TOPIC: topic } = config
  const id = await withExistingStore(config, terminal, async (store) => store.id)
  const own = { id, name: storeName(config), instance: '' }
  const say = (taken: boolean, said: string) => terminal.out(options.json ? `${JSON.stringify({ group: groupId, taken })}\n` : `${said}\n`)
  return await withCluster(config, async (cluster) => {
    const found = await cluster.topic()
    if (found === null)
      throw new KafkaError('no-topic', `Kafka at ${config.KAFKA_BROKERS.join(', ')} has no topic ${topic}: correct KAFKA_TOPIC`)
    const offsets = await cluster.committedOffsets(groupId, [...found.partitions.keys()])
    const before = storeOfGroup(offsets)
    if (before === null || before.id === id) {
      const why = before === null ? 'has no other store' : 'counts into this store already'
      say(false, `Nothing to do: group ${groupId} ${why}.`)
      return EXIT.ok
    }
    const named = before.name === '' ? `the store with the id ${before.id}` : printable(before.name, 200)
    const question = `Group ${groupId} counts ${topic} into ${named}. From now on it will count into ${own.name}, from that store's own positions, and instances with the other store will be refused. Go on?`
    if (!(await isConfirmed(question, options, terminal))) return DECLINED
    const inUse = () =>
      new OwnKafkaError('group-in-use', `group ${groupId} has members: stop all of its instances first, and run this again`)
    if ((await cluster.describeGroup(groupId)).members.length > 0) throw inUse()
    if (!(await cluster.commitOffsets(nobodyOf(groupId), positionsOf(offsets), claimMetadata({ ...own, memberId: '' })))) throw inUse()
    say(true, `Group ${groupId} counts ${topic} into ${own.name} from now on.`)
    return EXIT.ok
  })
}

function positionsOf(offsets: ReadonlyMap<number, GroupOffset>): Positions {
  return new Map([...offsets].map(([partition, { offset, leaderEpoch }]) => [partition, { offset, leaderEpoch }]))
}

/** Connects to the brokers, calls `work` with the connection, and closes it. */
async function withCluster<T>(config: Config, work: (cluster: Cluster) => Promise<T>): Promise<T> {
  const { KAFKA_BROKERS: brokers, KAFKA_TOPIC: topic } = config
  const cluster = new Cluster({ brokers, topic, clientId: 'poke-api-consumer-take-group', clientOptions: kafkaSecurity(config) })
  try {
    return await work(cluster)
  } catch (error) {
    throw withRemedies(error)
  } finally {
    cluster.disconnect()
  }
}
