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

/** A topic of three partitions, looked at every three seconds by the member `me`. */
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
  const look = async (described: Partial<DescribedGroup>, later = 3000) => {
    time += later
    group.now = { ...STABLE, members: [], ...described }
    await members.poll()
    return seen.at(-1)
  }
  return { look, seen, group }
}
const WELL: GroupView = { foreignMembers: 0, unread: [], reasons: [] }

describe('a classic group', () => {
  test('of instances alone is well, whatever their clients are called and whichever store of ours they say', async () => {
    const { look } = watch()
    assert.deepEqual(await look({ members: [classic('me', [0, 2]), classic('m2', [1])] }), WELL)
    assert.deepEqual(await look({ members: [classic('me', [0, 1, 2]), classic('m2', [], '0123456789abcdef0123456789abcdef')] }), WELL)
  })

  test('names another program at once, with what it reads, and is well again when that has gone', async () => {
    const { look } = watch()
    const view = await look({ members: [classic('me', [0]), classic('kcat', [1, 2], null)] })
    assert.deepEqual([view?.foreignMembers, view?.unread], [1, [1, 2]])
    assert.deepEqual(view?.reasons, [
      'partitions 1, 2 of t are read by another program in group g, client client-kcat at 10.0.0.7; records that it reads are not counted: stop it, or give it a consumer group of its own',
    ])
    assert.deepEqual(await look({ members: [classic('me', [0, 1, 2])] }), WELL)
  })

  test('names another program that has no partition', async () => {
    const { look } = watch()
    const view = await look({ members: [classic('me', [0, 1, 2]), { ...classic('x', []), metadata: Buffer.from('?') }] })
    assert.deepEqual([view?.foreignMembers, view?.unread], [1, []])
    assert.match(view?.reasons[0] ?? '', /^another program is a member of group g, client client-x at 10\.0\.0\.7/)
  })

  test('names whoever reads as an instance of another store, or as none of ours by an id of its own, for longer than a session', async () => {
    const { look } = watch()
    const members = [classic('me', [0]), classic('m2', [1, 2], '0123456789abcdef0123456789abcdef')]
    for (const at of [0, 3000, 3000, 3000]) assert.deepEqual(await look({ members }, at), WELL)
    const view = await look({ members })
    assert.deepEqual([view?.foreignMembers, view?.unread], [1, [1, 2]])
    assert.match(
      view?.reasons[0] ?? '',
      /^partitions 1, 2 of t are read by a member that counts into another store in group g, client client-m2 at 10\.0\.0\.7/,
    )
  })

  test('says that partitions are kept from it because others count into another store', async () => {
    const { look } = watch()
    const members = [classic('me', []), classic('m2', [], '0123456789abcdef0123456789abcdef')]
    for (let i = 0; i < 4; i++) await look({ members })
    const view = await look({ members })
    assert.match(
      view?.reasons.join() ?? '',
      /to no member; it has members that count into another store \(client client-m2 at 10\.0\.0\.7\), .*STORE_URL on all instances, or give this one a KAFKA_GROUP_ID/,
    )
  })

  test('names a partition that nobody has had for longer than a session, and not before', async () => {
    const { look } = watch()
    const members = [classic('me', [0, 1])]
    for (const at of [0, 3000, 3000, 3000]) assert.deepEqual(await look({ members }, at), WELL)
    const view = await look({ members })
    assert.deepEqual([view?.foreignMembers, view?.unread], [0, [2]])
    assert.match(view?.reasons[0] ?? '', /^partition 2 of t has had no reader for longer than 10000 ms/)
    assert.deepEqual(await look({ members: [classic('me', [0, 1, 2])] }), WELL)
    assert.deepEqual(await look({ members }), WELL)
  })

  const silent = (memberId: string, clientId = `client-${memberId}`) => {
    return { ...classic(memberId, []), clientId, metadata: Buffer.alloc(0), assignment: Buffer.alloc(0) }
  }

  test('says nothing while it hands out its partitions', async () => {
    const { look, seen } = watch()
    await look({ members: [silent('me')], isStable: false })
    assert.deepEqual(seen, [])
  })

  test('names whom it waits for when it hands out its partitions for longer than a session, and is well when it has settled', async () => {
    const { look, seen } = watch()
    const settled = [classic('me', [0, 2]), classic('m2', [1])]
    await look({ members: settled })
    // One of ours has joined since: it has told nobody yet who it is.
    const members = [silent('me'), silent('m2'), silent('m3', 'poke-api-consumer'), silent('java')]
    for (let i = 0; i < 4; i++) assert.deepEqual(await look({ members, isStable: false }), WELL)
    const view = await look({ members, isStable: false })
    assert.deepEqual(view?.reasons, [
      'group g has been rebalancing for longer than 10000 ms, most likely because it waits for client client-java at 10.0.0.7: stop or restart the member that hangs; nothing is counted until the rebalance is complete',
    ])
    const alone = await look({ members: [silent('me'), silent('m3', 'poke-api-consumer')], isStable: false })
    assert.match(alone?.reasons[0] ?? '', /waits for client poke-api-consumer at 10\.0\.0\.7: stop/)
    assert.match((await look({ members: [silent('me')], isStable: false }))?.reasons[0] ?? '', /waits for a member: stop/)
    assert.deepEqual(await look({ members: settled }), WELL)
    const told = seen.length
    await look({ members, isStable: false })
    assert.equal(seen.length, told)
  })

  test('has names that move nothing on a terminal, and as many sentences as can be read', async () => {
    const { look } = watch()
    const members = Array.from({ length: 1000 }, (_, i) => ({ ...classic(`x${i}`, [], null), clientId: `a\u001b[31m\n${'x'.repeat(500)}` }))
    const view = await look({ members: [classic('me', [0, 1, 2]), ...members] })
    assert.equal(view?.foreignMembers, 1000)
    assert.equal(view?.reasons.length, 11)
    assert.equal(view?.reasons.at(-1), 'and 990 more')
    assert.doesNotMatch(view?.reasons.join('') ?? '', /\p{Cc}|x{200}/u)
  })
})

describe('a group of the newer protocol', () => {
  test('is well where each partition is this instance’s, or its reader has committed who it is', async () => {
    const { look, group } = watch()
    group.claims.set(2, 'm2')
    for (let i = 0; i < 10; i++) assert.deepEqual(await look({ kind: 'consumer', members: [newer('me', 0, 1), newer('m2', 2)] }), WELL)
  })

  test('names whoever has read a partition for longer than a session without saying who it is', async () => {
    const { look, group } = watch()
    group.claims.set(2, 'me')
    const members = [newer('me', 0), newer('java', 1, 2)]
    for (const at of [0, 3000, 3000, 3000]) assert.deepEqual(await look({ kind: 'consumer', members }, at), WELL)
    const view = await look({ kind: 'consumer', members })
    assert.deepEqual([view?.foreignMembers, view?.unread], [1, [1, 2]])
    assert.match(view?.reasons[0] ?? '', /^partitions 1, 2 of t are read by another program in group g, client client-java at 10\.0\.0\.7/)
    assert.deepEqual(await look({ kind: 'consumer', members: [newer('me', 0, 1, 2)] }), WELL)
  })
})

test('who keeps this service out of a group is said by the group’s kind, protocol and members', () => {
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

describe('what members say', () => {
  test('is read as it was written', () => {
    assert.deepEqual(userDataOf(subscription(STORE)), Buffer.from(STORE))
    assert.equal(userDataOf(subscription(null)), null)
    assert.deepEqual(partitionsOf(assignment(['o', [1]], ['t', [4, 5]]), 't'), [4, 5])
    assert.deepEqual(partitionsOf(assignment(), 't'), [])
  })

  test('may be any bytes at all', () => {
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
