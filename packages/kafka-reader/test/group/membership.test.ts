/** Membership of the group, which is ended and begun again after each failure, with a scripted coordinator. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { Reader, Writer } from '@platformatic/kafka'
import { type Clock, pause, StateMachine, systemClock } from '@poke-api-pipeline/service-kit'
import { MEMBERSHIP_TRANSITIONS, Membership, type MembershipOptions, type MembershipState } from '../../src/group/membership.ts'
import { METADATA, ScriptedBroker } from '../scripted-broker.ts'

const FIND_COORDINATOR = 10
const JOIN = 11
const HEARTBEAT = 12
const LEAVE = 13
const SYNC = 14
const UNKNOWN_SERVER_ERROR = -1
const REBALANCE_IN_PROGRESS = 27
const STORE = '00000000-0000-4000-8000-000000000001'

interface Join {
  readonly sessionTimeout: number
  readonly rebalanceTimeout: number
  /** The member id; empty: a new member. */
  readonly memberId: string
  /** Whether its metadata names a store. */
  readonly saysStore: boolean
}

/** A coordinator that accepts every member, each alone in the group. The test decides on its other answers. */
async function groupOf(t: TestContext) {
  const broker = await ScriptedBroker.start()
  t.after(() => broker.stop())
  broker.understands([METADATA, 0, 12], [FIND_COORDINATOR, 4, 4], [JOIN, 9, 9], [HEARTBEAT, 4, 4], [LEAVE, 5, 5], [SYNC, 5, 5])
  const joins: Join[] = []
  /** The id of the leader; null: the member that joins. */
  const group: {
    leader: string | null
    handedOut: Buffer
    /** The metadata of other members. */
    others: readonly Buffer[]
    /** The assignment, in place of the one that the leader sent. */
    handsOut: Buffer | null
  } = { leader: null, handedOut: Buffer.alloc(0), others: [], handsOut: null }
  let changed: PromiseWithResolvers<void> = Promise.withResolvers()
  const until = async (condition: () => boolean) => {
    while (!condition()) await changed.promise
  }
  const change = () => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  const coordinator = { key: 'group', node: 1, port: broker.port }
  broker.answers.set(FIND_COORDINATOR, () =>
    Writer.create()
      .appendInt32(0)
      .appendArray([coordinator], (w, { key, node, port }) =>
        w.appendString(key).appendInt32(node).appendString('127.0.0.1').appendInt32(port).appendInt16(0).appendString(null),
      )
      .appendTaggedFields(),
  )
  broker.answers.set(JOIN, (request) => {
    const reader = bodyOf(request)
    reader.readString()
    const [sessionTimeout, rebalanceTimeout, memberId] = [reader.readInt32(), reader.readInt32(), reader.readString()]
    reader.readNullableString()
    reader.readString()
    const [protocol] = reader.readArray((r) => ({ name: r.readString(), metadata: r.readBytes() }))
    joins.push({ sessionTimeout, rebalanceTimeout, memberId, saysStore: protocol?.metadata.includes(STORE) === true })
    change()
    const given = memberId || `member-${joins.length}`
    return Writer.create()
      .appendInt32(0)
      .appendInt16(0)
      .appendInt32(joins.length)
      .appendString('consumer')
      .appendString(protocol?.name ?? '')
      .appendString(group.leader ?? given)
      .appendBoolean(false)
      .appendString(given)
      .appendArray([protocol?.metadata ?? Buffer.alloc(0), ...group.others], (w, metadata, i) =>
        w
          .appendString(i === 0 ? given : `other-${i}`)
          .appendString(null)
          .appendBytes(metadata),
      )
      .appendTaggedFields()
  })
  broker.answers.set(SYNC, (request) => {
    const reader = bodyOf(request)
    reader.readString()
    reader.readInt32()
    for (let i = 0; i < 4; i++) reader.readNullableString()
    reader.readArray((r) => {
      const [memberId, assignment] = [r.readString(), Buffer.from(r.readBytes())]
      if (memberId.startsWith('member-')) group.handedOut = assignment
    })
    const handedOut = group.handsOut ?? group.handedOut
    return answer().appendString('consumer').appendString('roundrobin').appendBytes(handedOut).appendTaggedFields()
  })
  broker.answers.set(HEARTBEAT, () => answer().appendTaggedFields())
  broker.answers.set(LEAVE, () =>
    answer()
      .appendArray([] as number[], (w) => w)
      .appendTaggedFields(),
  )
  return { broker, group, joins, until, change }
}

function answer(errorCode = 0): Writer {
  return Writer.create().appendInt32(0).appendInt16(errorCode)
}

function refusedJoin(): Writer {
  return answer(UNKNOWN_SERVER_ERROR)
    .appendInt32(-1)
    .appendString(null)
    .appendString(null)
    .appendString('')
    .appendBoolean(false)
    .appendString('')
    .appendArray([] as number[], (w) => w)
    .appendTaggedFields()
}

/** The body of a request. */
function bodyOf(request: Buffer): Reader {
  const reader = Reader.from(request)
  reader.skip(8)
  reader.readNullableString(false)
  reader.readTaggedFields()
  return reader
}

function member(
  t: TestContext,
  { broker, change }: Awaited<ReturnType<typeof groupOf>>,
  options: Partial<Omit<MembershipOptions, 'clock'>> & { readonly clock?: Partial<Clock> } = {},
) {
  const address = { host: '127.0.0.1', port: broker.port }
  const assigned: number[][] = []
  const lost: string[] = []
  const waits: number[] = []
  const membership = new Membership({
    brokers: [broker.name],
    topic: 'poke-topic',
    groupId: 'group',
    clientId: 'test',
    storeId: STORE,
    confirmStore: async () => true,
    describeUsers: async () => null,
    sessionTimeout: 10_000,
    topics: {
      current: {
        topicId: '0a1b2c3d-4e5f-4a6b-8c7d-0e1f2a3b4c5d',
        partitions: [
          { node: 1, leaderEpoch: 1 },
          { node: 1, leaderEpoch: 1 },
        ],
      },
      requestRefresh: () => {},
    },
    cluster: {
      addresses: new Map([[1, address]]),
      answering: address,
      partitionsOf: async () => new Map(),
    },
    observer: {
      rebalanced: () => {},
      membershipLost: (error) => {
        lost.push(error.message)
        change()
      },
    },
    ...options,
    clock: {
      ...systemClock(),
      random: () => 0,
      wait: async (ms, signal) => {
        waits.push(ms)
        await pause(Math.min(ms, 20), signal)
      },
      ...options.clock,
    },
  })
  const leaving = new AbortController()
  const running = membership.run((partitions) => {
    assigned.push([...partitions])
    change()
  }, leaving.signal)
  const leave = async () => {
    leaving.abort()
    await running
  }
  t.after(leave)
  return { membership, assigned, lost, waits, leave }
}

/** A test fails if a condition that it waits for does not come true within this time. */
const LIMIT = { timeout: 30_000 }

describe('a member', () => {
  test(
    'joins with session and rebalance time-outs of ten seconds and the id of its store (rule S5), and gets all partitions if it is alone',
    LIMIT,
    async (t) => {
      const group = await groupOf(t)
      const { assigned, membership } = member(t, group)
      await group.until(() => assigned.length === 1)
      assert.deepEqual(assigned, [[0, 1]])
      assert.deepEqual(group.joins, [{ sessionTimeout: 10_000, rebalanceTimeout: 10_000, memberId: '', saysStore: true }])
      assert.deepEqual(membership.member, { groupId: 'group', memberId: 'member-1', generationId: 1 })
    },
  )

  for (const [what, bytes] of [
    ['of no protocol', Buffer.from('hello')],
    ['with a forged length', Buffer.from('00007fffffff0001', 'hex')],
    ['that break off', Buffer.from('000000000001000a706f6b65', 'hex')],
  ] as const) {
    test(`whose assignment has bytes ${what} has no partition, and goes on`, LIMIT, async (t) => {
      const group = await groupOf(t)
      group.group.handsOut = bytes
      const heartbeats = [REBALANCE_IN_PROGRESS]
      group.broker.answers.set(HEARTBEAT, () => {
        if (heartbeats.length > 0) group.group.handsOut = null
        return answer(heartbeats.shift() ?? 0).appendTaggedFields()
      })
      const { assigned, lost } = member(t, group, { sessionTimeout: 900 })
      await group.until(() => assigned.length === 2)
      assert.deepEqual([assigned, lost], [[[], [0, 1]], []])
    })

    test(`that leads another one whose subscription has bytes ${what} assigns it nothing`, LIMIT, async (t) => {
      const group = await groupOf(t)
      group.group.others = [bytes]
      const { assigned, lost } = member(t, group)
      await group.until(() => assigned.length === 1)
      assert.deepEqual([assigned, lost], [[[0, 1]], []])
    })
  }

  test('refuses each transition that is not listed, with both states in the message', () => {
    const states = Object.keys(MEMBERSHIP_TRANSITIONS) as MembershipState[]
    for (const from of states)
      for (const to of states) {
        const machine = new StateMachine('membership of the group', MEMBERSHIP_TRANSITIONS, from)
        if (MEMBERSHIP_TRANSITIONS[from].includes(to)) machine.enter(to)
        else assert.throws(() => machine.enter(to), { message: `membership of the group cannot go from "${from}" to "${to}"` })
      }
  })

  test('cannot be run twice at the same time, so it has one client at most', LIMIT, async (t) => {
    const group = await groupOf(t)
    const { membership, assigned } = member(t, group)
    await group.until(() => assigned.length === 1)
    assert.equal(membership.state, 'member')
    await assert.rejects(
      membership.run(() => {}, AbortSignal.timeout(1000)),
      /cannot go from "member" to "joining"/,
    )
    assert.equal(membership.state, 'member')
  })

  test('has its id and its present generation', LIMIT, async (t) => {
    const group = await groupOf(t)
    const heartbeats = [REBALANCE_IN_PROGRESS]
    group.broker.answers.set(HEARTBEAT, () => answer(heartbeats.shift() ?? 0).appendTaggedFields())
    const { assigned, membership, lost } = member(t, group, { sessionTimeout: 900 })
    await group.until(() => assigned.length === 2)
    assert.deepEqual(lost, [])
    assert.deepEqual(
      group.joins.map(({ memberId }) => memberId),
      ['', 'member-1'],
    )
    assert.deepEqual(membership.member, { groupId: 'group', memberId: 'member-1', generationId: 2 })
  })

  test('joins again if it leads the group and the topic got more partitions', LIMIT, async (t) => {
    const group = await groupOf(t)
    const { assigned, membership } = member(t, group)
    await group.until(() => assigned.length === 1)
    await membership.onPartitionCount(2)
    assert.equal(group.joins.length, 1)
    await membership.onPartitionCount(3)
    assert.equal(group.joins.length, 2)
  })

  test('does not join again because of more partitions if another member leads', LIMIT, async (t) => {
    const group = await groupOf(t)
    const heartbeats = [REBALANCE_IN_PROGRESS]
    group.broker.answers.set(HEARTBEAT, () => answer(heartbeats.shift() ?? 0).appendTaggedFields())
    const { assigned, membership } = member(t, group, { sessionTimeout: 900 })
    await group.until(() => assigned.length === 1)
    group.group.leader = 'another'
    await group.until(() => assigned.length === 2)
    await membership.onPartitionCount(3)
    assert.equal(group.joins.length, 2)
  })

  test('that was frozen for longer than the heartbeat interval is confirmed by the next heartbeat (rule M2)', LIMIT, async (t) => {
    const group = await groupOf(t)
    const clock = { ms: 0 }
    const { assigned, membership, lost } = member(t, group, { sessionTimeout: 600, clock: { now: () => clock.ms } })
    await group.until(() => assigned.length === 1)
    await membership.confirmed()
    clock.ms += 500
    let isConfirmed = false
    const confirmed = membership.confirmed().then(() => {
      isConfirmed = true
    })
    // No answer can arrive between these lines.
    for (let i = 0; i < 10; i++) await Promise.resolve()
    assert.equal(isConfirmed, false)
    await confirmed
    assert.deepEqual(lost, [])
  })

  test('whose client cannot join again loses its membership at once, not at the end of its session', LIMIT, async (t) => {
    const group = await groupOf(t)
    const join = group.broker.answers.get(JOIN)
    const heartbeats = [REBALANCE_IN_PROGRESS]
    group.broker.answers.set(HEARTBEAT, () => answer(heartbeats.shift() ?? 0).appendTaggedFields())
    const { assigned, lost } = member(t, group, { sessionTimeout: 900 })
    await group.until(() => assigned.length === 1)
    group.broker.answers.set(JOIN, () => refusedJoin())
    await group.until(() => lost.length === 1)
    assert.doesNotMatch(lost[0] ?? '', /was not heard of/)
    group.broker.answers.set(JOIN, (request) => join?.(request) ?? null)
    await group.until(() => assigned.at(-1)?.length === 2)
  })

  test(
    'whose coordinator stops answering drops its partitions and joins as a new member, with a longer delay each time (rule M1)',
    LIMIT,
    async (t) => {
      const group = await groupOf(t)
      group.broker.answers.set(HEARTBEAT, () => null)
      // A coordinator that does not answer does not confirm LeaveGroup either, so a client that is used again would keep its member id.
      group.broker.answers.set(LEAVE, () => null)
      const { assigned, lost, waits } = member(t, group, { sessionTimeout: 300 })
      await group.until(() => assigned.length >= 3)
      assert.deepEqual(assigned.slice(0, 3), [[0, 1], [], [0, 1]])
      assert.match(lost[0] ?? '', /the coordinator of group group was not heard of for 300 ms/)
      assert.deepEqual(
        group.joins.map(({ memberId }) => memberId),
        group.joins.map(() => ''),
      )
      assert.ok(waits.includes(100), `waits: ${waits}`)
    },
  )

  test('whose join is not answered joins again through the same client, two seconds after the rebalance time-out', LIMIT, async (t) => {
    const group = await groupOf(t)
    const join = group.broker.answers.get(JOIN)
    let asked = 0
    group.broker.answers.set(JOIN, (request) => (++asked === 1 ? null : (join?.(request) ?? null)))
    const { assigned, lost } = member(t, group, { sessionTimeout: 300 })
    await group.until(() => assigned.length === 1)
    // Without a time-out for each request this would take until the deadline of the whole membership.
    assert.deepEqual([assigned, lost, asked], [[[0, 1]], [], 2])
  })

  test('that leaves closes its connections', { timeout: 10_000 }, async (t) => {
    const group = await groupOf(t)
    const { assigned, leave } = member(t, group)
    await group.until(() => assigned.length === 1)
    await leave()
    while (group.broker.open > 0) await new Promise(setImmediate)
  })

  test('that is refused retries through a new client without end, with a longer delay each time', LIMIT, async (t) => {
    const group = await groupOf(t)
    const join = group.broker.answers.get(JOIN)
    let refusals = 0
    group.broker.answers.set(JOIN, (request) => {
      if (++refusals > 4) return join?.(request) ?? null
      return refusedJoin()
    })
    const { assigned, lost, waits } = member(t, group)
    await group.until(() => assigned.some((partitions) => partitions.length === 2))
    assert.equal(lost.length, 4)
    assert.deepEqual(
      waits.filter((ms) => ms !== 250),
      [100, 200, 400, 800],
    )
  })
})
