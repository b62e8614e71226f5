/** A picture that is drawn over and over at the bottom of a terminal, with lines of text that stay above it. */
import type { WriteStream } from 'node:tty'
import { stripVTControlCharacters } from 'node:util'
import type { Look } from './terminal-look.ts'

const ERASE_BELOW = '\u001b[J'
const ERASE_LINE_END = '\u001b[K'

export class LiveTerminal {
  /** Whether pictures show; otherwise only lines do. */
  readonly live: boolean
  readonly #stream: NodeJS.WriteStream
  #picture: readonly string[] = []
  #shown = 0

  constructor(stream: NodeJS.WriteStream = process.stdout, env: NodeJS.ProcessEnv = process.env) {
    this.#stream = stream
    this.live = stream.isTTY === true && env.TERM !== 'dumb'
    if (this.live) stream.on('resize', () => this.#rewrapped())
    // A closed terminal or pipe is for its owner to notice; writing to it must not be the end of everything.
    stream.on('error', () => undefined)
  }

  get look(): Look {
    const { columns = 80, rows = 24 } = this.#stream
    return { columns, rows, colours: this.live && (this.#stream as WriteStream).hasColors(256) }
  }

  /** Shows a line that stays. */
  say(text: string): void {
    if (!this.live) this.#stream.write(`${text}\n`)
    else this.#write(`${this.#backToTop()}${text.replaceAll('\n', `${ERASE_LINE_END}\n`)}${ERASE_LINE_END}\n`, this.#picture)
  }

  /** Shows a picture in place of the last one. Lines must fit: they are for the `look` of now. */
  draw(lines: readonly string[]): void {
    if (this.live) this.#write(this.#backToTop(), lines.slice(0, this.look.rows - 1))
  }

  /** Leaves the last picture where it is; what is said from now on comes below it. */
  leave(): void {
    this.#picture = []
    this.#shown = 0
  }

  /** Terminals wrap what was drawn for a wider screen, and the picture is higher than it was. */
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
