/** Limits of the parts of an event. */

/** Most bytes of a value; a longer one is not parsed. This project's producer writes about 120. */
export const MAX_VALUE_BYTES = 1024 * 1024

/** Most Unicode characters (code points) of a Pokémon's name. PokeAPI's longest has 27. */
export const MAX_NAME_LENGTH = 100

/** Most types of one Pokémon. PokeAPI's have one or two. */
export const MAX_TYPES = 64

/**
 * The name of a type. Few characters are allowed, because type names become keys of databases, labels and JSON documents. NUL, for example, is valid in
 * JSON, but PostgreSQL refuses it.
 */
export const TYPE_NAME = /^[a-z0-9-]{1,64}$/
