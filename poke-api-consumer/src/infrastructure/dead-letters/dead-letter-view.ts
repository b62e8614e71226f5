/** A dead letter as the API shows it: bounded in size, and without control characters in its previews. */

import { copyHeaders, countHeaders, MAX_HEADERS } from '@poke-api-pipeline/kafka-reader'
import { printable } from '@poke-api-pipeline/service-kit'
import { Type } from 'typebox'
import type { KeptDeadLetter } from '../../application/ports.ts'
import type { WholePart } from '../../entities/dead-letter.ts'

/** The bytes of a key, a value or a header that the API shows, and the number of headers. The store and the dead-letter topic have the rest. */
const SHOWN = { bytes: 1024, headers: 32 }
const MAX_PREVIEW_CHARACTERS = 120

const BytesSchema = Type.Object(
  {
    bytes: Type.Integer({ minimum: 0, description: 'How many there are.' }),
    base64: Type.String({ description: `The first ${SHOWN.bytes} of them.` }),
    preview: Type.String({ description: 'The same as text, as far as it is text that can be printed.' }),
    kept: Type.Optional(Type.Integer({ minimum: 0, description: 'Where the store has not all of them: how many it has, the first ones.' })),
    sha256: Type.Optional(Type.String({ description: 'Where the store has not all of them: the SHA-256 of all, in hex.' })),
  },
  { title: 'Bytes' },
)
type Bytes = Type.Static<typeof BytesSchema>

const BytesOrNull = Type.Union([BytesSchema, Type.Null()])

export const DeadLetterSchema = Type.Object(
  {
    id: Type.Integer({ description: 'Rises in the order in which dead letters were kept.' }),
    topic: Type.String(),
    topicId: Type.String(),
    partition: Type.Integer({ minimum: 0 }),
    offset: Type.Integer({ minimum: 0 }),
    timestamp: Type.Union([Type.Integer(), Type.Null()], {
      description: 'As the record carries it, ms since 1970; null where a number in JSON cannot hold all of it (beyond 2^53 − 1).',
    }),
    timestampText: Type.String({ pattern: '^-?[0-9]{1,19}$', description: 'The same in decimal digits, whole whatever it is.' }),
    reason: Type.String(),
    state: Type.String({ description: 'What became of it: `kept` in the store alone, or `published` to the dead-letter topic too.' }),
    key: BytesOrNull,
    value: BytesOrNull,
    headers: Type.Array(Type.Object({ name: Type.String(), value: BytesOrNull })),
    moreHeaders: Type.Integer({ minimum: 0, description: 'Headers left out of `headers`.' }),
    cutHeaders: Type.Optional(
      Type.Object(
        { bytes: Type.Integer({ minimum: 0 }), sha256: Type.String() },
        { description: 'Where the store has not all bytes of the headers: how many there are in the record, and their SHA-256 in hex.' },
      ),
    ),
  },
  { title: 'DeadLetter' },
)
export type DeadLetterView = Type.Static<typeof DeadLetterSchema>

/** @param shown the bytes of a part and the number of headers that are shown; Infinity shows all bytes and at most MAX_HEADERS headers */
export function viewDeadLetter(
  deadLetter: KeptDeadLetter,
  shown: { readonly bytes: number; readonly headers: number } = SHOWN,
): DeadLetterView {
  const { cut } = deadLetter
  const view = (bytes: Buffer | null, whole?: WholePart) => viewBytes(bytes, shown.bytes, whole)
  const headers = copyHeaders(deadLetter.headers, Math.min(shown.headers, MAX_HEADERS), cut.headers !== undefined)
  return {
    id: deadLetter.id,
    topic: deadLetter.partition.topic,
    topicId: deadLetter.partition.topicId,
    partition: deadLetter.partition.partition,
    offset: deadLetter.offset,
    timestamp: Number.isSafeInteger(Number(deadLetter.timestamp)) ? Number(deadLetter.timestamp) : null,
    timestampText: String(deadLetter.timestamp),
    reason: deadLetter.reason,
    state: deadLetter.state,
    key: view(deadLetter.key, cut.key),
    value: view(deadLetter.value, cut.value),
    headers: headers.map(([name, value]) => ({ name: preview(name), value: view(value) })),
    moreHeaders: countHeaders(deadLetter.headers) - headers.length,
    ...(cut.headers && { cutHeaders: cut.headers }),
  }
}

/** @param whole length and hash of all bytes, where these are only the first */
function viewBytes(bytes: Buffer | null, shown: number, whole?: WholePart): Bytes | null {
  if (bytes === null) return null
  const first = bytes.subarray(0, shown)
  const view = { bytes: whole?.bytes ?? bytes.length, base64: first.toString('base64'), preview: preview(first) }
  return whole === undefined ? view : { ...view, kept: bytes.length, sha256: whole.sha256 }
}

function preview(bytes: Buffer): string {
  return printable(bytes.subarray(0, MAX_PREVIEW_CHARACTERS * 4).toString('utf8'), MAX_PREVIEW_CHARACTERS)
}
