/** A terminal that keeps its output, and gives the answer that a test has set. */
import type { Terminal } from '../../src/infrastructure/terminal/terminal.ts'

export class RecordingTerminal implements Terminal {
  readonly look = { columns: 100, colours: false }
  readonly watched = false
  readonly errorColumns = 80
  readonly written = async () => {}
  readonly questions: string[] = []
  readonly #answer: boolean | null
  #out = ''
  #errors = ''

  /** @param answer to every question; null: there is no terminal */
  constructor(answer: boolean | null = null) {
    this.#answer = answer
  }

  out(text: string): void {
    this.#out += text
  }

  error(text: string): void {
    this.#errors += text
  }

  async ask(question: string): Promise<boolean | null> {
    this.questions.push(question)
    return this.#answer
  }

  get output(): string {
    return this.#out
  }

  get errors(): string {
    return this.#errors
  }
}
