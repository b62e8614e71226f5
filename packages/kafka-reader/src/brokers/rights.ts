/** Asks the brokers what they allow to this client, before anything needs it. */

import { type MissingRights, missingOperations, missingRightsMessage } from '@poke-api-pipeline/kafka-common/rights'
import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import { KafkaError } from '../errors.ts'
import type { Cluster, ClusterOptions } from './cluster.ts'

export interface RightsOptions extends Pick<ClusterOptions, 'brokers' | 'topic' | 'clientOptions'> {
  readonly groupId: string
  /** Topics that the user of the reader writes to. Where reading is not allowed, the rights that are missing on these are named as well. */
  readonly writableTopics?: readonly string[]
  readonly cluster: Pick<Cluster, 'topicRights' | 'groupRights' | 'mayCreate'>
  readonly failures: FailureTracker
  readonly clock: Clock
}

const RIGHTS = 'rights'
/** So many refusals are not reported: a group gets a coordinator only when it is asked for first. */
const PASSING = 6

/**
 * Asks until the brokers have said what they allow.
 * @returns false where the signal was aborted before
 * @throws KafkaError `not-authorised`, which names all that is missing to read; another one where trying again cannot help
 */
export async function checkRights(options: RightsOptions, signal: AbortSignal): Promise<boolean> {
  const { brokers, clientOptions, failures, clock } = options
  const retry = new BackOff({ first: 50, longest: 5000, clock })
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      const missing = await missingToRead(options)
      if (missing.length > 0) throw new KafkaError('not-authorised', missingRightsMessage(missing, brokers, clientOptions))
      failures.worked(RIGHTS)
      return true
    } catch (error) {
      if (!(error instanceof KafkaError && error.retriable)) throw error
      if (signal.aborted) break
      if (error.kind !== 'refused' || attempt > PASSING) failures.failed(RIGHTS, error)
    }
    await clock.wait(retry.next(), signal)
  }
  return false
}

/** @returns nothing where reading is allowed; otherwise all that is missing, to write as well */
async function missingToRead({ cluster, topic, groupId, writableTopics = [] }: RightsOptions): Promise<MissingRights[]> {
  const [topics, group] = [await cluster.topicRights([topic]), await cluster.groupRights(groupId)]
  const toRead: MissingRights[] = [
    { resource: 'topic', name: topic, operations: missingOperations(topics.get(topic)?.allowed ?? 0, ['Read', 'DescribeConfigs']) },
    { resource: 'group', name: groupId, operations: missingOperations(group, ['Read']) },
  ]
  const missing = toRead.filter(({ operations }) => operations.length > 0)
  return missing.length === 0 ? [] : [...missing, ...(await missingToWrite(cluster, writableTopics))]
}

/** Which rights are missing to write to some topics, and to make those that do not exist. @throws KafkaError where that cannot be found out */
export async function missingToWrite(
  cluster: Pick<Cluster, 'topicRights' | 'mayCreate'>,
  topics: readonly string[],
): Promise<MissingRights[]> {
  const missing: MissingRights[] = []
  for (const name of topics) {
    const { exists, allowed } = (await cluster.topicRights([name])).get(name) ?? { exists: true, allowed: 0 }
    const operations = missingOperations(allowed, ['Write'])
    // The cluster as a whole may allow it, which no topic shows.
    if (!exists && missingOperations(allowed, ['Create']).length > 0 && !(await cluster.mayCreate(name))) operations.unshift('Create')
    if (operations.length > 0) missing.push({ resource: 'topic', name, operations })
  }
  return missing
}
