/** A dead letter as the store returns it. Tests can change its fields. */
import type { KeptDeadLetter } from '../src/application/ports.ts'
import { headerBytes } from './header-bytes.ts'

export function deadLetter(id: number, more: Partial<KeptDeadLetter> = {}): KeptDeadLetter {
  return {
    id,
    partition: { topic: 'poke-topic', topicId: '2c0e5c7e-6a53-4a5e-8f0b-0d7a51b4f0aa', partition: 0 },
    offset: id * 10,
    leaderEpoch: 0,
    timestamp: 1_700_000_000_000n,
    reason: 'not-json',
    state: 'kept',
    key: Buffer.from('25'),
    value: Buffer.from('{"id": "pika'),
    headers: headerBytes(),
    cut: {},
    ...more,
  }
}
