/** Checks whether the files of a SQLite store are still the ones that were opened. */
import { realpathSync, statSync } from 'node:fs'

/**
 * SQLite keeps using the files that it opened when somebody removes or replaces them. It would write into files that no other process sees,
 * while the next process creates files with the same names, and each of the two processes would have a part of the counts.
 *
 * A store has three files: the database, its write-ahead log, and the index of that log, which holds the locks.
 */
export class SqliteFiles {
  readonly #opened: readonly { readonly path: string; readonly identity: string }[]

  /** @param path of a database that this process has opened and read: then its log and index exist, and no other process removes them */
  constructor(path: string) {
    // SQLite puts the log beside the file that a symbolic link leads to.
    const real = realpathSync(path)
    this.#opened = [path, `${real}-wal`, `${real}-shm`].flatMap((each) => {
      const identity = identityOf(each)
      return identity === null ? [] : [{ path: each, identity }]
    })
  }

  /** @returns a message about the first file that was removed or replaced; null where all files are in place */
  lost(): string | null {
    for (const { path, identity } of this.#opened) {
      const found = identityOf(path)
      if (found !== identity) return `${path} was ${found === null ? 'removed' : 'replaced by another file'}`
    }
    return null
  }
}

/** @returns device and number of the file; null where there is none */
function identityOf(path: string): string | null {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found === undefined ? null : `${found.dev} ${found.ino}`
}
