/** A dead letter as the API shows it: bounded, and harmless to whoever prints it. */

import { copyHeaders, countHeaders, MAX_HEADERS } from '@poke-api-pipeline/kafka-reader'
import { printable } from '@poke-api-pipeline/service-kit'
import { Type } from 'typebox'
import type { KeptDeadLetter } from '../../application/ports.ts'
import type { WholePart } from '../../entities/dead-letter.ts'

/** What the API shows of a key, a value or a header, and how many headers; the store and the dead-letter topic have the rest. */
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

/** @param shown how much of it; all bytes and as many headers as are ever taken apart where both are Infinity */
export function viewDeadLetter(
  letter: KeptDeadLetter,
  shown: { readonly bytes: number; readonly headers: number } = SHOWN,
): DeadLetterView {
  const { cut } = letter
  const view = (bytes: Buffer | null, whole?: WholePart) => viewBytes(bytes, shown.bytes, whole)
  const headers = copyHeaders(letter.headers, Math.min(shown.headers, MAX_HEADERS), cut.headers !== undefined)
  return {
    id: letter.id,
    topic: letter.partition.topic,
    topicId: letter.partition.topicId,
    partition: letter.partition.partition,
    offset: letter.offset,
    timestamp: Number.isSafeInteger(Number(letter.timestamp)) ? Number(letter.timestamp) : null,
    timestampText: String(letter.timestamp),
    reason: letter.reason,
    state: letter.state,
    key: view(letter.key, cut.key),
    value: view(letter.value, cut.value),
    headers: headers.map(([name, value]) => ({ name: preview(name), value: view(value) })),
    moreHeaders: countHeaders(letter.headers) - headers.length,
    ...(cut.headers && { cutHeaders: cut.headers }),
  }
}

/** @param whole what they are a part of, where they are not all */
function viewBytes(bytes: Buffer | null, shown: number, whole?: WholePart): Bytes | null {
  if (bytes === null) return null
  const first = bytes.subarray(0, shown)
  const view = { bytes: whole?.bytes ?? bytes.length, base64: first.toString('base64'), preview: preview(first) }
  return whole === undefined ? view : { ...view, kept: bytes.length, sha256: whole.sha256 }
}

function preview(bytes: Buffer): string {
  return printable(bytes.subarray(0, MAX_PREVIEW_CHARACTERS * 4).toString('utf8'), MAX_PREVIEW_CHARACTERS)
}
