/** How many captured Pokémon have each type, by the type's name. */
export type TypeCounts = ReadonlyMap<string, number>
