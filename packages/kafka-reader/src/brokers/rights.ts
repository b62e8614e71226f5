/** Asks the brokers what they allow to this client, before anything needs it. */

import { type MissingRights, missingOperations, missingRightsText, principalOf } from '@poke-api-pipeline/kafka-common/rights'
import { BackOff } from '@poke-api-pipeline/service-kit/back-off'
import type { Clock } from '@poke-api-pipeline/service-kit/clock'
import type { FailureTracker } from '@poke-api-pipeline/service-kit/failure-tracker'
import { KafkaError } from '../errors.ts'
import type { Cluster, ClusterOptions } from './cluster.ts'

export interface RightsOptions extends Pick<ClusterOptions, 'brokers' | 'topic' | 'clientOptions'> {
  readonly groupId: string
  /** Its name, where dead letters are published. */
  readonly deadLetterTopic?: string
  readonly cluster: Pick<Cluster, 'topicRights' | 'groupRights' | 'mayCreate'>
  readonly failures: FailureTracker
  readonly clock: Clock
}

const RIGHTS = 'rights'
/** So many refusals are not worth a word: a group gets its coordinator when it is asked for first. */
const PASSING = 6

/**
 * Waits until the brokers have said what they allow, and finds out whether that is enough to count.
 * @returns false where the signal was aborted before
 * @throws KafkaError `not-authorised`, which names all that is missing; where it is hopeless for another reason, too
 */
export async function checkRights(options: RightsOptions, signal: AbortSignal): Promise<boolean> {
  const { failures, clock } = options
  const retry = new BackOff({ first: 50, longest: 5000, clock })
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      const missing = await missingToCount(options)
      if (missing.length > 0) throw notAuthorised('not-authorised', missing, options)
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

/** What keeps dead letters from being published; null where nothing does. @throws KafkaError where that cannot be found out */
export async function deadLettersRefused(
  options: Pick<RightsOptions, 'cluster' | 'brokers' | 'clientOptions'> & { readonly deadLetterTopic: string },
): Promise<KafkaError | null> {
  const missing = await missingToPublish(options.cluster, options.deadLetterTopic)
  return missing === null ? null : notAuthorised('dead-letters-not-authorised', [missing], options)
}

/** Nothing where counting can go on; else all that is missing, of the dead-letter topic as well. */
async function missingToCount(options: RightsOptions): Promise<MissingRights[]> {
  const { cluster, topic, groupId, deadLetterTopic } = options
  const [topics, group] = [await cluster.topicRights([topic]), await cluster.groupRights(groupId)]
  const missing: MissingRights[] = [
    { resource: 'topic', name: topic, operations: missingOperations(topics.get(topic)?.allowed ?? 0, ['Read', 'DescribeConfigs']) },
    { resource: 'group', name: groupId, operations: missingOperations(group, ['Read']) },
  ]
  const needed = missing.filter(({ operations }) => operations.length > 0)
  const letters = needed.length === 0 || deadLetterTopic === undefined ? null : await missingToPublish(cluster, deadLetterTopic)
  return letters === null ? needed : [...needed, letters]
}

async function missingToPublish(cluster: RightsOptions['cluster'], name: string): Promise<MissingRights | null> {
  const { exists, allowed } = (await cluster.topicRights([name])).get(name) ?? { exists: true, allowed: 0 }
  const operations = missingOperations(allowed, ['Write'])
  // It may be allowed for the cluster instead, which no topic tells.
  if (!exists && missingOperations(allowed, ['Create']).length > 0 && !(await cluster.mayCreate(name))) operations.unshift('Create')
  return operations.length === 0 ? null : { resource: 'topic', name, operations }
}

function notAuthorised(
  kind: 'not-authorised' | 'dead-letters-not-authorised',
  missing: readonly MissingRights[],
  { brokers, clientOptions }: Pick<RightsOptions, 'brokers' | 'clientOptions'>,
): KafkaError {
  const text = missingRightsText(missing, principalOf(clientOptions?.sasl?.username), brokers)
  return new KafkaError(kind, `Kafka at ${brokers.join(', ')} allows too little: ${text}`)
}
