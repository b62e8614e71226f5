/** A state that only allows declared transitions, so that a mistake is an error at once and not a stall later. */

export class StateMachine<State extends string> {
  readonly #of: string
  readonly #transitions: Readonly<Record<State, readonly State[]>>
  #state: State

  /**
   * @param of the object that has the state, for the message of an error
   * @param transitions the states that may follow each state
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

  /** @throws Error that names both states if this transition is not declared */
  enter(next: State): void {
    if (!this.#transitions[this.#state].includes(next)) throw new Error(`${this.#of} cannot go from "${this.#state}" to "${next}"`)
    this.#state = next
  }
}
