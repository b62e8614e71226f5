/** Names the other programs in the group, and the partitions that no instance of this service reads (rule M3). */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Writer } from '@platformatic/kafka'
import { FailureTracker, systemClock } from '@poke-api-pipeline/service-kit'
import fc from 'fast-check'
import type { DescribedGroup, GroupMember } from '../../src/brokers/cluster.ts'
import { partitionsOf, userDataOf } from '../../src/group/consumer-protocol.ts'
import { GroupMembers, type GroupView, usersOf } from '../../src/group/group-members.ts'
import { claimMetadata } from '../../src/group/store-claim.ts'

const STORE = '00000000-0000-4000-8000-00000000000a'

const subscription = (userData: string | null) =>
  Writer.create()
    .appendInt16(1)
    .appendArray(['t'], (w, topic) => w.appendString(topic, false), false, false)
    .appendBytes(userData === null ? null : Buffer.from(userData), false).buffer

const assignment = (...topics: [string, number[]][]) =>
  Writer.create()
    .appendInt16(0)
    .appendArray(
      topics,
      (w, [topic, partitions]) => w.appendString(topic, false).appendArray(partitions, (p, each) => p.appendInt32(each), false, false),
      false,
      false,
    )
    .appendBytes(null, false).buffer

function classic(memberId: string, partitions: number[], userData: string | null = STORE): GroupMember {
  const client = { memberId, clientId: `client-${memberId}`, host: '/10.0.0.7', partitions: [] }
  return { ...client, metadata: subscription(userData), assignment: assignment(['other', [9]], ['t', partitions]) }
}
const newer = (memberId: string, ...partitions: number[]): GroupMember => {
  return { memberId, clientId: `client-${memberId}`, host: '/10.0.0.7', partitions, metadata: null, assignment: null }
}
const STABLE = { kind: 'classic', protocolType: 'consumer', protocol: 'roundrobin', isStable: true } as const

/** A topic of three partitions, polled every three seconds by the member `me`. */
function watch() {
  const seen: GroupView[] = []
  const group = { now: { ...STABLE, members: [] as readonly GroupMember[] } as DescribedGroup, claims: new Map<number, string>() }
  let time = 0
  const members = new GroupMembers({
    cluster: {
      describeGroup: async () => group.now,
      committedOffsets: async () => {
        const by = (memberId: string) => claimMetadata({ id: STORE, name: 'n', instance: 'i', memberId })[0] as string
        return new Map([...group.claims].map(([partition, memberId]) => [partition, { offset: 1, leaderEpoch: 1, metadata: by(memberId) }]))
      },
    },
    groupId: 'g',
    topic: 't',
    clientId: 'poke-api-consumer',
    store: { id: STORE },
    sessionTimeout: 10_000,
    partitions: () => 3,
    member: () => ({ groupId: 'g', memberId: 'me', generationId: 1 }),
    failures: new FailureTracker({ failed: () => {}, over: () => {} }),
    observer: { groupSeen: (view) => seen.push(view) },
    clock: { ...systemClock(), now: () => time, wait: async () => {} },
  })
  const pollWith = async (described: Partial<DescribedGroup>, later = 3000) => {
    time += later
    group.now = { ...STABLE, members: [], ...described }
    await members.poll()
    return seen.at(-1)
  }
  return { pollWith, seen, group }
}
const NOTHING_WRONG: GroupView = { foreignMembers: 0, unread: [], reasons: [], otherStore: false }

describe('a classic group', () => {
  test('without other programs has nothing to report, whatever the client ids of its instances are', async () => {
    const { pollWith } = watch()
    assert.deepEqual(await pollWith({ members: [classic('me', [0, 2]), classic('m2', [1])] }), NOTHING_WRONG)
    assert.deepEqual(
      await pollWith({ members: [classic('me', [0, 1, 2]), classic('m2', [], '0123456789abcdef0123456789abcdef')] }),
      NOTHING_WRONG,
    )
  })

  test('with another program is reported at once, with the partitions that it reads, until it leaves', async () => {
    const { pollWith } = watch()
    const view = await pollWith({ members: [classic('me', [0]), classic('kcat', [1, 2], null)] })
    assert.deepEqual([view?.foreignMembers, view?.unread], [1, [1, 2]])
    assert.deepEqual(view?.reasons, [
      'partitions 1, 2 of t are read by another program in group g, client client-kcat at 10.0.0.7; records that it reads are not read here: stop it, or give it a consumer group of its own',
    ])
    assert.deepEqual(await pollWith({ members: [classic('me', [0, 1, 2])] }), NOTHING_WRONG)
  })

  test('with another program that reads no partition is reported', async () => {
    const { pollWith } = watch()
    const view = await pollWith({ members: [classic('me', [0, 1, 2]), { ...classic('x', []), metadata: Buffer.from('?') }] })
    assert.deepEqual([view?.foreignMembers, view?.unread], [1, []])
    assert.match(view?.reasons[0] ?? '', /^another program is a member of group g, client client-x at 10\.0\.0\.7/)
  })

  test('in which a member with another store reads partitions for longer than a session is reported', async () => {
    const { pollWith } = watch()
    const members = [classic('me', [0]), classic('m2', [1, 2], '0123456789abcdef0123456789abcdef')]
    for (const at of [0, 3000, 3000, 3000]) assert.deepEqual(await pollWith({ members }, at), NOTHING_WRONG)
    const view = await pollWith({ members })
    assert.deepEqual([view?.foreignMembers, view?.unread], [1, [1, 2]])
    assert.match(
      view?.reasons[0] ?? '',
      /^partitions 1, 2 of t are read by a member that uses another store in group g, client client-m2 at 10\.0\.0\.7/,
    )
  })

  test('that assigns no partitions to this instance because of members with another store is reported, with what to do', async () => {
    const { pollWith } = watch()
    const members = [classic('me', []), classic('m2', [], '0123456789abcdef0123456789abcdef')]
    for (let i = 0; i < 4; i++) await pollWith({ members })
    const view = await pollWith({ members })
    assert.match(
      view?.reasons.join() ?? '',
      /to no member; it has members that use another store \(client client-m2 at 10\.0\.0\.7\), .*give all instances the same store, or this one a group/,
    )
    assert.equal(view?.otherStore, true)
  })

  test('with a partition without reader is reported after a session, and not before', async () => {
    const { pollWith } = watch()
    const members = [classic('me', [0, 1])]
    for (const at of [0, 3000, 3000, 3000]) assert.deepEqual(await pollWith({ members }, at), NOTHING_WRONG)
    const view = await pollWith({ members })
    assert.deepEqual([view?.foreignMembers, view?.unread], [0, [2]])
    assert.match(view?.reasons[0] ?? '', /^partition 2 of t has had no reader for longer than 10000 ms/)
    assert.deepEqual(await pollWith({ members: [classic('me', [0, 1, 2])] }), NOTHING_WRONG)
    assert.deepEqual(await pollWith({ members }), NOTHING_WRONG)
  })

  const silent = (memberId: string, clientId = `client-${memberId}`) => {
    return { ...classic(memberId, []), clientId, metadata: Buffer.alloc(0), assignment: Buffer.alloc(0) }
  }

  test('that rebalances is not reported at first', async () => {
    const { pollWith, seen } = watch()
    await pollWith({ members: [silent('me')], isStable: false })
    assert.deepEqual(seen, [])
  })

  test('that rebalances for longer than a session is reported with the members that it waits for, until the rebalance is complete', async () => {
    const { pollWith, seen } = watch()
    const settled = [classic('me', [0, 2]), classic('m2', [1])]
    await pollWith({ members: settled })
    // An instance of this service has joined meanwhile. It has not committed any metadata yet.
    const members = [silent('me'), silent('m2'), silent('m3', 'poke-api-consumer'), silent('java')]
    for (let i = 0; i < 4; i++) assert.deepEqual(await pollWith({ members, isStable: false }), NOTHING_WRONG)
    const view = await pollWith({ members, isStable: false })
    assert.deepEqual(view?.reasons, [
      'group g has been rebalancing for longer than 10000 ms, most likely because it waits for client client-java at 10.0.0.7: stop or restart the member that hangs; nothing is read until the rebalance is complete',
    ])
    const alone = await pollWith({ members: [silent('me'), silent('m3', 'poke-api-consumer')], isStable: false })
    assert.match(alone?.reasons[0] ?? '', /waits for client poke-api-consumer at 10\.0\.0\.7: stop/)
    assert.match((await pollWith({ members: [silent('me')], isStable: false }))?.reasons[0] ?? '', /waits for a member: stop/)
    assert.deepEqual(await pollWith({ members: settled }), NOTHING_WRONG)
    const told = seen.length
    await pollWith({ members, isStable: false })
    assert.equal(seen.length, told)
  })

  test('is reported without control characters of client ids, in ten sentences at most', async () => {
    const { pollWith } = watch()
    const members = Array.from({ length: 1000 }, (_, i) => ({ ...classic(`x${i}`, [], null), clientId: `a\u001b[31m\n${'x'.repeat(500)}` }))
    const view = await pollWith({ members: [classic('me', [0, 1, 2]), ...members] })
    assert.equal(view?.foreignMembers, 1000)
    assert.equal(view?.reasons.length, 11)
    assert.equal(view?.reasons.at(-1), 'and 990 more')
    assert.doesNotMatch(view?.reasons.join('') ?? '', /\p{Cc}|x{200}/u)
  })
})

describe('a group of the newer protocol', () => {
  test('in which each reader is this instance, or has committed the id of the store, has nothing to report', async () => {
    const { pollWith, group } = watch()
    group.claims.set(2, 'm2')
    for (let i = 0; i < 10; i++)
      assert.deepEqual(await pollWith({ kind: 'consumer', members: [newer('me', 0, 1), newer('m2', 2)] }), NOTHING_WRONG)
  })

  test('in which a member reads a partition for longer than a session without such a commit is reported', async () => {
    const { pollWith, group } = watch()
    group.claims.set(2, 'me')
    const members = [newer('me', 0), newer('java', 1, 2)]
    for (const at of [0, 3000, 3000, 3000]) assert.deepEqual(await pollWith({ kind: 'consumer', members }, at), NOTHING_WRONG)
    const view = await pollWith({ kind: 'consumer', members })
    assert.deepEqual([view?.foreignMembers, view?.unread], [1, [1, 2]])
    assert.match(view?.reasons[0] ?? '', /^partitions 1, 2 of t are read by another program in group g, client client-java at 10\.0\.0\.7/)
    assert.deepEqual(await pollWith({ kind: 'consumer', members: [newer('me', 0, 1, 2)] }), NOTHING_WRONG)
  })
})

test('the reason why this service cannot join a group has the kind, protocol and members of the group', () => {
  const range = { ...STABLE, protocol: 'range', members: [classic('java', [0], null)] }
  assert.equal(
    usersOf(range),
    'its members assign partitions with "range", this service with "roundrobin" (client client-java at 10.0.0.7)',
  )
  assert.equal(
    usersOf({ ...range, protocolType: 'connect', protocol: 'sessioned' }),
    'its members use the protocol "connect" and are not consumers (client client-java at 10.0.0.7)',
  )
  assert.equal(
    usersOf({ kind: 'other', protocolType: '', protocol: 'Share', isStable: true, members: [] }),
    'it is a share group, which stays until it is deleted (kafka-groups.sh --list shows it)',
  )
  assert.equal(usersOf({ ...STABLE, members: [] }), null)
})

describe('the metadata of members', () => {
  test('is decoded to the user data and partitions that were encoded', () => {
    assert.deepEqual(userDataOf(subscription(STORE)), Buffer.from(STORE))
    assert.equal(userDataOf(subscription(null)), null)
    assert.deepEqual(partitionsOf(assignment(['o', [1]], ['t', [4, 5]]), 't'), [4, 5])
    assert.deepEqual(partitionsOf(assignment(), 't'), [])
  })

  test('can be any bytes: none make decoding throw', () => {
    const cut = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.nat(60).map((end) => assignment(['t', [1, 2, 3]], ['u', [4]]).subarray(0, end)),
    )
    fc.assert(
      fc.property(cut, (bytes) => {
        userDataOf(Buffer.from(bytes))
        const partitions = partitionsOf(Buffer.from(bytes), 't')
        assert.ok(partitions === null || partitions.length <= bytes.length)
      }),
    )
    // A forged length.
    assert.equal(partitionsOf(Buffer.from('00007fffffff', 'hex'), 't'), null)
  })
})
