/** Copies of the positions are committed to the group only if they have moved and while this instance is a member. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '@poke-api-pipeline/service-kit'
import type { Member, Positions } from '../../src/brokers/cluster.ts'
import { KafkaError } from '../../src/errors.ts'
import { OffsetMirror } from '../../src/group/offset-mirror.ts'
import { claimMetadata, claimOf } from '../../src/group/store-claim.ts'

const STORE = { id: '00000000-0000-4000-8000-00000000000a', name: 'sqlite:data/counts.db', instance: 'host/12' }
const self: Member = { groupId: 'g', memberId: 'm', generationId: 3 }
const at = (...offsets: number[]): Positions => new Map(offsets.map((offset, partition) => [partition, { offset, leaderEpoch: 1 }]))

function mirrorOf(
  answer: () => boolean,
  member: () => Member | null = () => self,
  offsets = new Map<number, number>(),
  openedOffset: (partition: number) => number | null = () => null,
  metadata: string | null = null,
) {
  const written: [Member, Positions, string][] = []
  const told: string[] = []
  const mirror = new OffsetMirror({
    cluster: {
      commitOffsets: async (by, positions, [metadata = '']) => {
        written.push([by, positions, metadata])
        return answer()
      },
      committedOffsets: async () => new Map([...offsets].map(([partition, offset]) => [partition, { offset, leaderEpoch: 1, metadata }])),
    },
    groupId: 'g',
    store: STORE,
    observer: { mirrorDiffers: (partition, mirrored, position) => told.push(`${partition}: ${mirrored} > ${position}`) },
    member,
    positions: () => at(),
    openedOffset,
    clock: { ...systemClock(), wait: async () => {} },
  })
  return { mirror, written, told }
}

test('positions that moved are committed, with the id and generation of the member', async () => {
  const { mirror, written } = mirrorOf(() => true)
  assert.equal(await mirror.write(at(5, 7)), true)
  assert.equal(await mirror.write(at(5, 8)), true)
  assert.equal(await mirror.write(at(5, 8)), true)
  assert.deepEqual(
    written.map(([by, positions]) => [by, positions]),
    [
      [self, at(5, 7)],
      [self, new Map([[1, { offset: 8, leaderEpoch: 1 }]])],
    ],
  )
})

test('positions that the group refused are committed again', async () => {
  let answer = () => false
  const { mirror, written } = mirrorOf(() => answer())
  assert.equal(await mirror.write(at(5)), false)
  answer = () => {
    throw new KafkaError('unreachable', 'away')
  }
  assert.equal(await mirror.write(at(5)), false)
  answer = () => true
  assert.equal(await mirror.write(at(5)), true)
  assert.equal(written.length, 3)
})

test('each position is committed with the claim of this member, and again after the member or the owner of the partition changed', async () => {
  let place = self
  const { mirror, written } = mirrorOf(
    () => true,
    () => place,
  )
  await mirror.write(at(5))
  place = { ...self, memberId: 'm2' }
  await mirror.write(at(5))
  await mirror.write(new Map())
  await mirror.write(at(5))
  const members = written.map(([, , metadata]) => claimOf(metadata))
  assert.deepEqual(
    members,
    ['m', 'm2', 'm2'].map((memberId) => ({ ...STORE, memberId })),
  )
})

test('an instance that is not a member commits nothing', async () => {
  const { mirror, written } = mirrorOf(
    () => true,
    () => null,
  )
  assert.equal(await mirror.write(at(5)), false)
  assert.deepEqual(written, [])
})

test('rule S5: a group offset ahead of the store is reported once, and overwritten', async () => {
  const { mirror, written, told } = mirrorOf(
    () => true,
    () => self,
    new Map([
      [0, 5],
      [1, 500],
    ]),
  )
  await mirror.write(at(5, 7))
  await mirror.write(at(5, 8, 9))
  assert.deepEqual(told, ['1: 500 > 7'])
  assert.equal(written.length, 2)
})

test('rule S5: the group offset is compared with the position at which the partition was opened, however much was processed since', async () => {
  const { mirror, told } = mirrorOf(
    () => true,
    () => self,
    new Map([[0, 600]]),
    () => 0,
  )
  await mirror.write(at(600))
  assert.deepEqual(told, ['0: 600 > 0'])
})

test('an offset behind the store is overwritten, and reported only if another program committed it', async () => {
  const claim = claimMetadata({ ...STORE, memberId: 'm' })[0] as string
  for (const [metadata, expected] of [
    [null, ['0: 0 > 600']],
    ['', ['0: 0 > 600']],
    [claim, []],
  ] as const) {
    const { mirror, told, written } = mirrorOf(
      () => true,
      () => self,
      new Map([[0, 0]]),
      () => 600,
      metadata,
    )
    await mirror.write(at(600))
    assert.deepEqual([told, written.length], [expected, 1])
  }
})
