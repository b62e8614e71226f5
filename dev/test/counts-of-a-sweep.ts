/** The right counts, for tests. */

/** The counts of one capture of every Pokémon of PokeAPI's release of 2026-08-08, by type. */
export const COUNTS_OF_A_SWEEP = {
  bug: 106,
  dark: 99,
  dragon: 117,
  electric: 114,
  fairy: 88,
  fighting: 109,
  fire: 109,
  flying: 154,
  ghost: 96,
  grass: 156,
  ground: 96,
  ice: 69,
  normal: 160,
  poison: 106,
  psychic: 142,
  rock: 104,
  steel: 99,
  water: 192,
}
