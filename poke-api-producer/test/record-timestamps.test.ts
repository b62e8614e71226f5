/** Which timestamp a record carries: the time of the capture, unless a broker has said that its topic takes only others. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { RecordTimestamps } from '../src/infrastructure/messaging/record-timestamps.ts'

const NOW = Date.parse('2026-01-02T03:04:05.678Z')
const HOUR = 3_600_000

function setUp() {
  const clock = { now: NOW }
  return { clock, timestamps: new RecordTimestamps(() => clock.now) }
}

function at(ms: number): string {
  return new Date(ms).toISOString()
}

/** As brokers word it. */
function refusal(from: number, to: number): string {
  return `Timestamp 1 of message with offset 0 is out of range. The timestamp should be within [${from}, ${to}]`
}

describe('the timestamp of a record', () => {
  test('is the time of the capture, and never later than the send', () => {
    const { timestamps } = setUp()
    assert.equal(timestamps.of(at(NOW - 400 * 24 * HOUR)), NOW - 400 * 24 * HOUR)
    assert.equal(timestamps.of(at(NOW + HOUR)), NOW)
  })

  test('is the time of sending for events that are too old for the topic, and the time of the capture for others', () => {
    const { clock, timestamps } = setUp()
    timestamps.refused(refusal(NOW - 3000, NOW + HOUR))
    assert.equal(timestamps.of(at(NOW - HOUR)), NOW)
    assert.equal(timestamps.of(at(NOW - 1000)), NOW - 1000)
    clock.now += HOUR
    assert.equal(timestamps.of(at(NOW - 1000)), NOW + HOUR)
  })

  test('is the time of sending when the refusal does not name the accepted range', () => {
    for (const words of ['', 'out of range', '[1, x]', '[9, 3]']) {
      const { timestamps } = setUp()
      timestamps.refused(words)
      assert.equal(timestamps.of(at(NOW - 1)), NOW, words)
    }
  })

  test('is within the accepted range, however wrong this machine’s clock is', () => {
    const skew = fc.integer({ min: -10 * 365 * 24 * HOUR, max: 10 * 365 * 24 * HOUR })
    const bound = fc.oneof(fc.constantFrom(0, 3000, HOUR, 9.2e18), fc.nat({ max: 1e9 }))
    fc.assert(
      fc.property(
        skew,
        bound,
        bound,
        fc.integer({ min: -1e10, max: 1e10 }),
        fc.nat(100_000),
        fc.nat(1000),
        (ahead, before, after, age, later, onItsWay) => {
          // What moves on the way cannot be outrun where the topic takes nearly nothing.
          fc.pre(before + after >= 8000)
          const { clock, timestamps } = setUp()
          timestamps.refused(refusal(NOW + ahead - before, NOW + ahead + after))
          clock.now += later
          const timestamp = timestamps.of(at(NOW + age))
          const broker = NOW + ahead + later + onItsWay
          assert.ok(timestamp >= broker - before && timestamp <= broker + after, `${timestamp - broker} of [-${before}, ${after}]`)
          assert.ok(Number.isSafeInteger(timestamp))
        },
      ),
    )
  })
})
