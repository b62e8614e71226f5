/** A picture at the bottom of a terminal that is redrawn in place, below lines of text that stay. */
import type { WriteStream } from 'node:tty'
import { stripVTControlCharacters } from 'node:util'
import type { Look } from './terminal-look.ts'

const ERASE_BELOW = '\u001b[J'
const ERASE_LINE_END = '\u001b[K'

export class LiveTerminal {
  /** Whether pictures are drawn; otherwise only lines are printed. */
  readonly live: boolean
  readonly #stream: NodeJS.WriteStream
  #picture: readonly string[] = []
  #shown = 0

  constructor(stream: NodeJS.WriteStream = process.stdout, env: NodeJS.ProcessEnv = process.env) {
    this.#stream = stream
    this.live = stream.isTTY === true && env.TERM !== 'dumb'
    if (this.live) stream.on('resize', () => this.#rewrapped())
    // Writing to a closed terminal or pipe must not end this process.
    stream.on('error', () => undefined)
  }

  get look(): Look {
    const { columns = 80, rows = 24 } = this.#stream
    return { columns, rows, colours: this.live && (this.#stream as WriteStream).hasColors(256) }
  }

  /** Prints a line that stays. */
  say(text: string): void {
    if (!this.live) this.#stream.write(`${text}\n`)
    else this.#write(`${this.#backToTop()}${text.replaceAll('\n', `${ERASE_LINE_END}\n`)}${ERASE_LINE_END}\n`, this.#picture)
  }

  /** Draws a picture in place of the last one. @param lines no longer than the `look` of now allows */
  draw(lines: readonly string[]): void {
    if (this.live) this.#write(this.#backToTop(), lines.slice(0, this.look.rows - 1))
  }

  /** Keeps the last picture on the screen; whatever is printed from now on comes below it. */
  leave(): void {
    this.#picture = []
    this.#shown = 0
  }

  /** A narrower terminal has wrapped the lines of the picture, so it is higher now. */
  #rewrapped(): void {
    const { columns } = this.look
    this.#shown = this.#picture.reduce(
      (rows, line) => rows + Math.max(1, Math.ceil([...stripVTControlCharacters(line)].length / columns)),
      0,
    )
  }

  #backToTop(): string {
    return this.#shown > 0 ? `\u001b[${this.#shown}A\r` : ''
  }

  #write(before: string, picture: readonly string[]): void {
    this.#picture = picture
    this.#shown = picture.length
    this.#stream.write(`${before}${picture.map((line) => `${line}${ERASE_LINE_END}\n`).join('')}${ERASE_BELOW}`)
  }
}
