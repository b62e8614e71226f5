/** Notices changes of a file of counts as soon as the system reports them. */
import { type FSWatcher, mkdirSync, readFileSync, watch } from 'node:fs'
import { basename, dirname } from 'node:path'

export class CountsWatch {
  readonly #file: string
  readonly #watcher: FSWatcher
  readonly #changed: (sum: number, at: number) => void

  /** @param changed the sum of all counts and when it was read, by `performance.now()` */
  constructor(file: string, changed: (sum: number, at: number) => void) {
    this.#file = file
    this.#changed = changed
    mkdirSync(dirname(file), { recursive: true })
    // It watches the folder, because the file is replaced each time.
    this.#watcher = watch(dirname(file), (_, name) => {
      if (name === basename(file)) this.#look()
    })
  }

  close(): void {
    this.#watcher.close()
  }

  #look(): void {
    let text: string
    try {
      text = readFileSync(this.#file, 'utf8')
    } catch (error) {
      // An event may arrive late, while the folder is being removed.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw error
    }
    const { types } = JSON.parse(text) as { types: Record<string, number> }
    const sum = Object.values(types).reduce((all, count) => all + count, 0)
    this.#changed(sum, performance.now())
  }
}
