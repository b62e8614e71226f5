/** `type-counts.json`: always one whole document, replaced by a temporary file, fsync and rename, so that no reader and no crash sees half of one. */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { DeadlinePassed, makeFolder, onDisk, printableJson, withDeadline } from 'service-kit'
import type { TypeCountsSink } from '../../application/ports.ts'
import type { TypeCounts } from '../../entities/type-counts.ts'
import { OutputFileError, type OutputFileErrorKind } from '../../errors.ts'

/** What of `node:fs/promises` is used. */
export type Files = Pick<typeof fs, 'open' | 'readdir' | 'readFile' | 'rename' | 'rm' | 'stat'>

export interface TypeCountsFileOptions {
  /** ms since 1970 */
  readonly now?: () => number
  readonly files?: Files
  /** The disk is given so long to answer, in ms. */
  readonly deadline?: number
}

/** A temporary file this old, in ms, belongs to nobody any more: its writer was killed. Replacing a file takes some ms. */
const LEFTOVER_AGE = 60_000
/** A network disk that is away may keep a call for ever. */
const DEADLINE = 5000

/**
 * The published document: `{"types":{"bug":106,…}}` and a line's end, types in the order of their letters, so that equal counts are equal bytes.
 * Written by hand, because an object would put a type named like a number first.
 */
export function typeCountsDocument(counts: TypeCounts): string {
  const types = [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([type, count]) => `${JSON.stringify(type)}:${count}`)
  // Whoever prints the file shall see the names, and nothing else.
  return printableJson(`{"types":{${types.join(',')}}}\n`)
}

export class TypeCountsFile implements TypeCountsSink {
  readonly #path: string
  readonly #folder: string
  readonly #now: () => number
  readonly #files: Files
  readonly #deadline: number
  #tidy = false
  /** What the disk has not answered yet. */
  #underWay: Promise<unknown> | null = null

  /** @param path of the file; its folder is made when it is missing */
  constructor(path: string, { now = Date.now, files = fs, deadline = DEADLINE }: TypeCountsFileOptions = {}) {
    this.#path = resolve(path)
    this.#folder = dirname(this.#path)
    this.#now = now
    this.#files = files
    this.#deadline = deadline
  }

  /**
   * Replaces the document. One call at a time: of two, the older state could be the last one.
   * @throws OutputFileError, which names the path; what was published before is still there, and the next call starts afresh, unless the disk
   * hangs: then each call is refused until it has answered
   */
  async write(counts: TypeCounts): Promise<void> {
    await this.#bounded('written', async () => {
      await this.#ensureFolder()
      if (!this.#tidy) await this.#removeLeftovers()
      this.#tidy = true
      await this.#replace(typeCountsDocument(counts))
    })
  }

  /** @throws OutputFileError where the file is there and cannot be read */
  async matches(counts: TypeCounts): Promise<boolean> {
    const document = Buffer.from(typeCountsDocument(counts))
    return await this.#bounded('read', async () => {
      try {
        const found = await this.#files.stat(this.#path)
        // What is no file, a pipe say, could keep its reader waiting for ever; and a large one need not be read.
        if (!found.isDirectory() && !(found.isFile() && found.size === document.length)) return false
        return (await this.#files.readFile(this.#path)).equals(document)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
        throw error
      }
    })
  }

  /** Nothing is begun while the disk has still to answer what was begun before: an older document could replace a newer one. */
  async #bounded<T>(what: 'read' | 'written', work: () => Promise<T>): Promise<T> {
    if (this.#underWay !== null) throw hanging(what, this.#path)
    const working = onDisk(
      work().finally(() => {
        this.#underWay = null
      }),
    )
    this.#underWay = working
    try {
      return await withDeadline(working, this.#deadline, what)
    } catch (error) {
      if (error instanceof DeadlinePassed) throw hanging(what, this.#path)
      throw outputFileError(what, this.#path, error as NodeJS.ErrnoException)
    }
  }

  /** Looks without waiting, since a network disk may hang; only what is missing is made. */
  async #ensureFolder(): Promise<void> {
    try {
      await this.#files.stat(this.#folder)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      makeFolder(this.#folder)
    }
  }

  async #replace(document: string): Promise<void> {
    // In the same folder, since a rename replaces only within one disk; at random, since in containers every process has the number 1.
    const temporary = join(this.#folder, `${this.#temporaryPrefix()}${randomBytes(8).toString('hex')}`)
    try {
      const file = await this.#files.open(temporary, 'wx')
      try {
        await file.writeFile(document)
        // Before the rename: otherwise a power cut could leave the new name with no bytes.
        await file.sync()
      } finally {
        await file.close()
      }
      // Seen by every reader at once. The folder is not synced: a power cut may bring the older whole document back, as it may take the store's
      // last commits, and the next start publishes what the store says. That sync would be half of the time from an event to its count.
      await this.#files.rename(temporary, this.#path)
    } catch (error) {
      await this.#files.rm(temporary, { force: true })
      throw error
    }
  }

  /** Temporary files of writers that were killed; young ones may belong to another instance, which is about to rename them. */
  async #removeLeftovers(): Promise<void> {
    const prefix = this.#temporaryPrefix()
    for (const name of await this.#files.readdir(this.#folder)) {
      if (!name.startsWith(prefix)) continue
      const path = join(this.#folder, name)
      try {
        if ((await this.#files.stat(path)).mtimeMs < this.#now() - LEFTOVER_AGE) await this.#files.rm(path, { force: true })
      } catch (error) {
        // Another instance was quicker, or it belongs to another user, and then it is for them to remove: no reason not to publish.
        if (!['ENOENT', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      }
    }
  }

  #temporaryPrefix(): string {
    return `.${basename(this.#path)}.tmp-`
  }
}

const KINDS: Readonly<Record<string, OutputFileErrorKind>> = {
  EACCES: 'not-writable',
  EPERM: 'not-writable',
  EROFS: 'not-writable',
  EISDIR: 'not-writable',
  ENOTDIR: 'not-writable',
  EEXIST: 'not-writable',
  EBUSY: 'not-writable',
  ENOSPC: 'full',
  EDQUOT: 'full',
}

function hanging(what: 'read' | 'written', path: string): OutputFileError {
  return new OutputFileError('hangs', `the counts cannot be ${what}: ${path}: the disk does not answer; it is waited for`)
}

function outputFileError(what: 'read' | 'written', path: string, error: NodeJS.ErrnoException): OutputFileError {
  const code = error.code ?? ''
  const why =
    code === 'EISDIR'
      ? 'there is a folder of that name'
      : code === 'ENOTDIR' || code === 'EEXIST'
        ? 'a part of its path is a file, not a folder'
        : code === 'EBUSY'
          ? 'it cannot be replaced, as a file that is mounted by itself cannot: mount its folder instead'
          : error.message
  return new OutputFileError(KINDS[code] ?? 'io', `the counts cannot be ${what}: ${path}: ${why}; it is tried again`, { cause: error })
}
