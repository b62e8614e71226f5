/** The mirror of positions in the Kafka group: only what moved, only while this is a member, and never in anybody's way. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KafkaError } from '../../src/errors.ts'
import type { Member, Positions } from '../../src/infrastructure/messaging/cluster.ts'
import { OffsetMirror } from '../../src/infrastructure/messaging/offset-mirror.ts'

const self: Member = { groupId: 'g', memberId: 'm', generationId: 3 }
const at = (...offsets: number[]): Positions => new Map(offsets.map((offset, partition) => [partition, { offset, leaderEpoch: 1 }]))

function mirrorOf(answer: () => boolean, member: () => Member | null = () => self) {
  const written: [Member, Positions][] = []
  const mirror = new OffsetMirror({
    cluster: {
      mirror: async (by, positions) => {
        written.push([by, positions])
        return answer()
      },
    },
    member,
    positions: () => at(),
    wait: async () => {},
  })
  return { mirror, written }
}

test('what moved is written, with the member’s id and generation', async () => {
  const { mirror, written } = mirrorOf(() => true)
  assert.equal(await mirror.write(at(5, 7)), true)
  assert.equal(await mirror.write(at(5, 8)), true)
  assert.equal(await mirror.write(at(5, 8)), true)
  assert.deepEqual(written, [
    [self, at(5, 7)],
    [self, new Map([[1, { offset: 8, leaderEpoch: 1 }]])],
  ])
})

test('what the group did not take is written again', async () => {
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

test('who is no member writes nothing', async () => {
  const { mirror, written } = mirrorOf(
    () => true,
    () => null,
  )
  assert.equal(await mirror.write(at(5)), false)
  assert.deepEqual(written, [])
})
