/** Chooses a key's partition as the Java client does, so that a key lands where every other producer puts it. */
import { compatibilityPartitioner } from '@platformatic/kafka'

/** The library's partitioners take a message and look at its key alone. */
const NO_MESSAGE = { topic: '', value: Buffer.alloc(0) }

/**
 * @param partitions how many the topic has
 * @returns the murmur2 hash of the key's UTF-8 bytes without its sign, modulo `partitions`: `BuiltInPartitioner.partitionForKey`,
 * https://github.com/apache/kafka/blob/4.3.1/clients/src/main/java/org/apache/kafka/clients/producer/internals/BuiltInPartitioner.java.
 * (The library's own default keeps the sign bit as a part of the number and lands elsewhere.)
 */
export function partitionerFor(partitions: number): (key: string) => number {
  return (key) => compatibilityPartitioner(NO_MESSAGE, Buffer.from(key)) % partitions
}
