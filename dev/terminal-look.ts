/** What a terminal can show, and text drawn for it. */
import { bar as barOf } from '@poke-api-pipeline/poke-api-consumer/bar'
import { inTypeColour } from '@poke-api-pipeline/poke-api-consumer/type-colours'

export interface Look {
  /** Characters in a line, lines on the screen. */
  readonly columns: number
  readonly rows: number
  readonly colours: boolean
}

/** A bar for a part of the whole, to an eighth of a character; never nothing for something. Padded to `width`. */
export function bar(part: number, whole: number, width: number): string {
  const share = whole > 0 ? Math.min(1, part / whole) : 0
  return barOf(share > 0 ? Math.max(1, Math.floor(share * width * 8)) : 0).padEnd(width)
}

/** A bar in the customary colour of a Pokémon type. */
export function typeBar(type: string, count: number, most: number, width: number, look: Look): string {
  return inTypeColour(type, bar(count, most, width), look)
}

export function bold(text: string, look: Look): string {
  return look.colours ? `\u001b[1m${text}\u001b[22m` : text
}

export function dim(text: string, look: Look): string {
  return look.colours ? `\u001b[2m${text}\u001b[22m` : text
}

export function red(text: string, look: Look): string {
  return look.colours ? `\u001b[31m${text}\u001b[39m` : text
}

/** The text within so many characters, the last one `…` where something is missing. Not for text with colours in it. */
export function cut(text: string, columns: number): string {
  const characters = [...text]
  return characters.length <= columns ? text : `${characters.slice(0, Math.max(0, columns - 1)).join('')}…`
}

/** `1 min 05 s`. @param seconds fractions are left out */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  if (hours > 0) return `${hours} h ${String(minutes).padStart(2, '0')} min`
  return minutes > 0 ? `${minutes} min ${String(rest).padStart(2, '0')} s` : `${rest} s`
}

export function count(number: number | null): string {
  return number === null ? '–' : number.toLocaleString('en')
}
