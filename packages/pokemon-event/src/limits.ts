/** How large the parts of an event may be. */

/** Bytes of a value. Our own are about 120; what is longer is not parsed. */
export const MAX_VALUE_BYTES = 1024 * 1024

/** Unicode characters (code points) of a Pokémon's name. PokeAPI's longest has 27. */
export const MAX_NAME_LENGTH = 100

/** Types of one Pokémon. Today's have one or two. */
export const MAX_TYPES = 64

/**
 * The name of a type. So narrow because type names become keys of databases, labels and JSON documents:
 * NUL, for one, is valid in JSON and refused by PostgreSQL.
 */
export const TYPE_NAME = /^[a-z0-9-]{1,64}$/
