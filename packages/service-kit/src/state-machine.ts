/** A state that changes only along the transitions that are drawn for it: a mistake shows where it is made, and not as a stall later. */

export class StateMachine<State extends string> {
  readonly #of: string
  readonly #transitions: Readonly<Record<State, readonly State[]>>
  #state: State

  /**
   * @param of whose state it is, for the message of an error
   * @param transitions from each state, the states that may follow it
   */
  constructor(of: string, transitions: Readonly<Record<State, readonly State[]>>, first: State) {
    this.#of = of
    this.#transitions = transitions
    this.#state = first
  }

  get state(): State {
    return this.#state
  }

  is(...states: readonly State[]): boolean {
    return states.includes(this.#state)
  }

  /** @throws Error that names both states where the one may not follow the other */
  enter(next: State): void {
    if (!this.#transitions[this.#state].includes(next)) throw new Error(`${this.#of} cannot go from "${this.#state}" to "${next}"`)
    this.#state = next
  }
}
