/** Encodes headers as a record contains them. */
import { varint } from './mock-kafka-consumer.ts'

/** A count, then for each header a length-prefixed key and value, all numbers zigzag varints, −1 for a null value. */
export function headerBytes(...headers: readonly (readonly [key: string | Buffer, value: string | Buffer | null])[]): Buffer {
  const sized = (part: string | Buffer) => [varint(Buffer.byteLength(part)), Buffer.from(part)]
  return Buffer.concat([
    varint(headers.length),
    ...headers.flatMap(([key, value]) => [...sized(key), ...(value === null ? [varint(-1)] : sized(value))]),
  ])
}
