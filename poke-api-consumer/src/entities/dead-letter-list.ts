/** The dead letters of a partition without their bytes. Each takes only a few bytes here, because anybody who writes to the topic can make millions. */
import type { CutParts, DeadLetterReason } from './dead-letter.ts'

/** A dead letter without its bytes. */
export interface ListedDeadLetter<State extends string> {
  readonly offset: number
  readonly leaderEpoch: number
  readonly reason: DeadLetterReason
  readonly state: State
  readonly cut: CutParts
}

const NOTHING_CUT: CutParts = {}

export class DeadLetterList<State extends string> implements Iterable<ListedDeadLetter<State>> {
  #length = 0
  #offsets = new Float64Array(64)
  #leaderEpochs = new Int32Array(64)
  /** The index of its reason and state in `#reasonsAndStates`. */
  #kinds = new Uint8Array(64)
  readonly #reasonsAndStates: Pick<ListedDeadLetter<State>, 'reason' | 'state'>[] = []
  /** By index. Only few are cut, because each was longer than a megabyte. */
  readonly #cuts = new Map<number, CutParts>()

  get length(): number {
    return this.#length
  }

  /** Its offset must not be below that of the one added before. */
  add({ offset, leaderEpoch, reason, state, cut }: ListedDeadLetter<State>): void {
    const index = this.#length++
    if (index === this.#offsets.length) this.#grow()
    this.#offsets[index] = offset
    this.#leaderEpochs[index] = leaderEpoch
    this.#kinds[index] = this.#kindOf(reason, state)
    if (Object.keys(cut).length > 0) this.#cuts.set(index, cut)
  }

  /** @returns the index of the last one with that offset; −1 if there is none */
  find(offset: number): number {
    let [low, high] = [0, this.#length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#offsets[middle] as number) <= offset) low = middle + 1
      else high = middle
    }
    return low > 0 && this.#offsets[low - 1] === offset ? low - 1 : -1
  }

  at(index: number): ListedDeadLetter<State> {
    const { reason, state } = this.#reasonsAndStates[this.#kinds[index] as number] as Pick<ListedDeadLetter<State>, 'reason' | 'state'>
    return {
      offset: this.#offsets[index] as number,
      leaderEpoch: this.#leaderEpochs[index] as number,
      reason,
      state,
      cut: this.#cuts.get(index) ?? NOTHING_CUT,
    }
  }

  *[Symbol.iterator](): Generator<ListedDeadLetter<State>> {
    for (let index = 0; index < this.#length; index++) yield this.at(index)
  }

  #kindOf(reason: DeadLetterReason, state: State): number {
    const known = this.#reasonsAndStates.findIndex((kind) => kind.reason === reason && kind.state === state)
    return known === -1 ? this.#reasonsAndStates.push({ reason, state }) - 1 : known
  }

  #grow(): void {
    const size = 2 * this.#length
    const [offsets, leaderEpochs, kinds] = [new Float64Array(size), new Int32Array(size), new Uint8Array(size)]
    offsets.set(this.#offsets)
    leaderEpochs.set(this.#leaderEpochs)
    kinds.set(this.#kinds)
    this.#offsets = offsets
    this.#leaderEpochs = leaderEpochs
    this.#kinds = kinds
  }
}
