/** Takes killed processes out of their consumer group, so that a test need not wait until their sessions have ended. */
import { Admin, findErrorBy } from '@platformatic/kafka'

/**
 * Removes every member of a group, as its coordinator does when their sessions have ended. Only for groups of which no process is alive.
 * @param brokers host:port, several separated by commas
 */
export async function removeDeadMembers(brokers: string, groupId: string): Promise<void> {
  const admin = new Admin({ clientId: 'dead-members', bootstrapBrokers: brokers.split(',') })
  try {
    for (;;) {
      const members = (await admin.describeGroups({ groups: [groupId] })).get(groupId)?.members
      if (members === undefined || members.size === 0) return
      try {
        await admin.removeMembersFromConsumerGroup({ groupId, members: [...members.keys()].map((memberId) => ({ memberId })) })
      } catch (error) {
        // Its session has ended meanwhile.
        if (findErrorBy(error as Error, 'apiId', 'UNKNOWN_MEMBER_ID') === null) throw error
      }
    }
  } finally {
    await admin.close()
  }
}
