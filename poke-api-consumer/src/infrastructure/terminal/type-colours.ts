/** Text in the colours of Pokémon types, on terminals that show colours. */
import styles from '../type-colours/types.json' with { type: 'json' }

export interface TerminalLook {
  /** Characters in a line. */
  readonly columns: number
  /** Whether colours are wanted. */
  readonly colours: boolean
}

/** Text in the customary colour of a type, as the page has it; a type that nobody knows stays as it is. */
export function inTypeColour(type: string, text: string, look: TerminalLook): string {
  if (!look.colours || !Object.hasOwn(styles, type)) return text
  const { colour } = styles[type as keyof typeof styles]
  const [r, g, b] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16))
  return `\u001b[38;2;${r};${g};${b}m${text}\u001b[39m`
}
