/** The event: a Pokémon was captured. */
import type { Static } from 'typebox'
import { MAX_NAME_LENGTH, MAX_TYPES, TYPE_NAME } from './limits.ts'
import type { PokemonEventSchema } from './schema.ts'

export interface PokemonEvent extends Static<typeof PokemonEventSchema> {}

/** Whether a value is a valid event. Accepts exactly the values that the schema accepts. */
export function isPokemonEvent(value: unknown): value is PokemonEvent {
  return eventFault(value) === null
}

/** Why a value is not a valid event, as a text that follows "the event's …"; null if it is valid. */
export function eventFault(value: unknown): string | null {
  if (!isObject(value)) return `value must be an object, but is ${show(value)}`
  const { id, name, types } = value
  if (!isPositiveInteger(id)) return `id must be an integer from 1 to ${Number.MAX_SAFE_INTEGER}, but is ${show(id)}`
  if (!isName(name)) return `name must be a text of 1 to ${MAX_NAME_LENGTH} characters, but is ${show(name)}`
  if (Array.isArray(types) && types.length === 0) return 'types is empty'
  if (!Array.isArray(types) || types.length < 1 || types.length > MAX_TYPES) {
    return `types must be a list of 1 to ${MAX_TYPES} types, but is ${show(types)}`
  }
  for (const [index, entry] of types.entries()) {
    const at = `types[${index}]`
    if (!isObject(entry)) return `${at} must be an object, but is ${show(entry)}`
    if (!isPositiveInteger(entry.slot)) return `${at}.slot must be an integer from 1 on, but is ${show(entry.slot)}`
    if (!isObject(entry.type)) return `${at}.type must be an object, but is ${show(entry.type)}`
    const type = entry.type.name
    if (typeof type !== 'string' || !TYPE_NAME.test(type)) {
      return `${at}.type.name must be 1 to 64 of the characters a-z, 0-9 and -, but is ${show(type)}`
    }
  }
  return null
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** From 1 to 2^53−1: an id or a slot. */
export function isPositiveInteger(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1
}

/** A Pokémon's name: JSON Schema counts code points, of which a string has at most as many as it has code units. */
export function isName(value: unknown): value is string {
  if (typeof value !== 'string' || value.length === 0) return false
  return value.length <= MAX_NAME_LENGTH || (value.length <= 2 * MAX_NAME_LENGTH && [...value].length <= MAX_NAME_LENGTH)
}

/** A short text for people, for a value of any kind. */
function show(value: unknown): string {
  if (value === undefined) return 'missing'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'string') return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}…` : value)
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
