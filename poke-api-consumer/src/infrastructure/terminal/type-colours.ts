/** Text in the colours of Pokémon types, on terminals that show colours. */
import styles from '../type-colours/types.json' with { type: 'json' }

export interface TerminalLook {
  /** The characters in a line. */
  readonly columns: number
  /** Whether colours are shown. */
  readonly colours: boolean
}

/** @returns the text in the customary colour of a type, the same as on the page; the plain text for an unknown type */
export function inTypeColour(type: string, text: string, look: TerminalLook): string {
  if (!look.colours || !Object.hasOwn(styles, type)) return text
  const { colour } = styles[type as keyof typeof styles]
  const [r, g, b] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16))
  return `\u001b[38;2;${r};${g};${b}m${text}\u001b[39m`
}
