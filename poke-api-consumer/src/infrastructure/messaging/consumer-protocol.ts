/**
 * What members of a classic group say when they join, and what the leader hands them (`ConsumerProtocolSubscription` and
 * `ConsumerProtocolAssignment`, https://kafka.apache.org/protocol). Other programs wrote these bytes: they may be anything.
 */

/** @returns what a member says of itself beyond its topics; null where there is nothing, or the bytes are of another protocol */
export function userDataOf(metadata: Buffer): Buffer | null {
  return read(metadata, (from) => {
    from.int16()
    from.array(() => from.string())
    return from.bytes()
  })
}

/** @returns the partitions of a topic that were handed out; null where the bytes are of another protocol */
export function partitionsOf(assignment: Buffer, topic: string): number[] | null {
  return read(assignment, (from) => {
    from.int16()
    const handedOut = from.array(() => [from.string(), from.array(() => from.int32())] as const)
    return handedOut.flatMap(([name, partitions]) => (name === topic ? partitions : []))
  })
}

function read<T>(bytes: Buffer, parse: (from: Bytes) => T): T | null {
  try {
    return parse(new Bytes(bytes))
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

/** Reads from the beginning on. @throws RangeError behind the end, and where a length cannot be one */
class Bytes {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  int16(): number {
    this.#at += 2
    return this.#bytes.readInt16BE(this.#at - 2)
  }

  int32(): number {
    this.#at += 4
    return this.#bytes.readInt32BE(this.#at - 4)
  }

  string(): string {
    return this.#take(this.int16()).toString()
  }

  bytes(): Buffer | null {
    const length = this.int32()
    return length < 0 ? null : this.#take(length)
  }

  /** Each element has a byte at least, so that a forged length ends at the end of the bytes. */
  array<T>(element: () => T): T[] {
    const elements: T[] = []
    for (let left = this.int32(); left > 0; left--) elements.push(element())
    return elements
  }

  #take(length: number): Buffer {
    if (length < 0 || this.#at + length > this.#bytes.length) throw new RangeError(`${length} bytes at ${this.#at}`)
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}
