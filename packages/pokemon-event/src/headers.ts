/**
 * The headers of a record: CloudEvents 1.0 in Kafka's binary mode
 * (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md).
 */

/** The name of the event with its version. A change that older consumers must not count as this event needs a new name. */
export const CE_TYPE = 'pokemon.captured.v1'
export const SPEC_VERSION = '1.0'
export const CONTENT_TYPE = 'application/json'

export const HEADER = {
  specversion: 'ce_specversion',
  type: 'ce_type',
  source: 'ce_source',
  id: 'ce_id',
  time: 'ce_time',
  sequence: 'ce_sequence',
  origin: 'ce_origin',
  contentType: 'content-type',
  traceparent: 'traceparent',
} as const

/** Each source of `poke-api-producer` begins so; the name of the run follows. */
export const SOURCE_PREFIX = '/poke-api-producer/'
/** Longer sources are not recognised (rule C1). */
export const MAX_SOURCE_BYTES = 256
export const SEQUENCE_DIGITS = 16
/** A sequence that exceeds the last one of its source and partition by more than this does not become the last one (rules C2 and P5). */
export const MAX_LEAP = 1_000_000_000_000

/** The headers that identify an event (rule C1), for readers that search them in a record's bytes. */
export const EVENT_IDENTITY = {
  typeHeader: HEADER.type,
  expectedType: CE_TYPE,
  sourceHeader: HEADER.source,
  maxSourceBytes: MAX_SOURCE_BYTES,
  sequenceHeader: HEADER.sequence,
  sequenceDigits: SEQUENCE_DIGITS,
} as const

export interface EventHeaders {
  /** The name of one run of one producer; no other run ever uses it (rule P1). 1 to 256 bytes in UTF-8, without NUL. */
  readonly source: string
  /** 0 to 2^53−1, rising with each event of the source. */
  readonly sequence: number
  /** RFC 3339. */
  readonly time: string
  readonly origin: 'live' | 'bundled'
  /** W3C Trace Context, if the capture is traced. */
  readonly traceparent?: string | undefined
}

/**
 * The headers of an event, in the order in which they are written.
 * @throws RangeError if consumers could not recognise the event by them (rule C1)
 */
export function encodeHeaders({ source, sequence, time, origin, traceparent }: EventHeaders): [name: string, value: string][] {
  const bytes = Buffer.byteLength(source)
  if (bytes === 0 || bytes > MAX_SOURCE_BYTES || source.includes('\0') || !source.isWellFormed()) {
    throw new RangeError(
      `ce_source must be 1 to ${MAX_SOURCE_BYTES} bytes of text without NUL, but is ${JSON.stringify(source)} (${bytes} bytes)`,
    )
  }
  const number = formatSequence(sequence)
  const headers: [string, string][] = [
    [HEADER.specversion, SPEC_VERSION],
    [HEADER.type, CE_TYPE],
    [HEADER.source, source],
    [HEADER.id, number],
    [HEADER.time, time],
    [HEADER.sequence, number],
    [HEADER.origin, origin],
    [HEADER.contentType, CONTENT_TYPE],
  ]
  if (traceparent !== undefined) headers.push([HEADER.traceparent, traceparent])
  return headers
}

/**
 * A sequence as 16 digits, so that texts sort like numbers.
 * @throws RangeError if it is not an integer from 0 to 2^53−1
 */
export function formatSequence(sequence: number): string {
  if (!Number.isSafeInteger(sequence) || sequence < 0) {
    throw new RangeError(`a sequence must be an integer from 0 to ${Number.MAX_SAFE_INTEGER}, but is ${sequence}`)
  }
  return String(sequence).padStart(SEQUENCE_DIGITS, '0')
}
