/** What was captured: the facts of a PokeAPI body that the event carries. */
import type { PokemonEvent } from 'pokemon-event'

export interface Capture {
  readonly pokemon: PokemonEvent
  /** When it was obtained, RFC 3339 with milliseconds. */
  readonly time: string
  /** Where the body came from: the live API, or the Pokédex that comes with this project. */
  readonly origin: 'live' | 'bundled'
}
