/** Tells whether the files of an SQLite store are still the ones that were opened. */
import { realpathSync, statSync } from 'node:fs'

/**
 * SQLite keeps the files that it opened, also when somebody removes or replaces them: it would go on in files that no other process sees,
 * while the next process begins others of the same names, and each of the two would have a part of the counts.
 *
 * A store is three files: the database, its write-ahead log, and the index of that log, which has the locks as well.
 */
export class SqliteFiles {
  readonly #opened: readonly { readonly path: string; readonly identity: string }[]

  /** @param path of a database that is open in this process and was read: then its log and index are there, and nobody else removes them */
  constructor(path: string) {
    // The log stands beside the file that a symbolic link leads to.
    const real = realpathSync(path)
    this.#opened = [path, `${real}-wal`, `${real}-shm`].flatMap((each) => {
      const identity = identityOf(each)
      return identity === null ? [] : [{ path: each, identity }]
    })
  }

  /** @returns what happened to the first file that is not the opened one any more, for a message; null where all are in place */
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
