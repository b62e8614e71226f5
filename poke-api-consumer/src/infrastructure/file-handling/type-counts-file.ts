/**
 * `type-counts.json`: always one whole document, replaced by a temporary file, fsync and rename, so that no reader and no crash sees half of one.
 * Only a regular file is replaced. A symbolic link stays, and the file that it leads to is replaced; owner and mode of the file before stay too.
 */
import { randomBytes } from 'node:crypto'
import type { Stats } from 'node:fs'
import fs from 'node:fs/promises'
import { basename, dirname, isAbsolute, resolve } from 'node:path'
import { DeadlinePassed, makeFolder, onDisk, printableJson, withDeadline } from '@poke-api-pipeline/service-kit'
import type { TypeCountsSink } from '../../application/ports.ts'
import type { TypeCounts } from '../../entities/tally.ts'
import { OutputFileError, type OutputFileErrorKind } from '../../errors.ts'

/** What of `node:fs/promises` is used. */
export type Files = Pick<typeof fs, 'lstat' | 'open' | 'readdir' | 'readFile' | 'readlink' | 'rename' | 'rm' | 'stat'>

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
/** How a database begins: https://www.sqlite.org/fileformat.html */
const SQLITE = 'SQLite format 3\0'
/** Characters of the file's name in that of its temporary one: disks allow 255 bytes. */
const LONGEST_PREFIX = 50
/** As many as Linux follows. */
const MOST_LINKS = 40

/** Where the document goes, and what is there now. */
interface Place {
  /** The file itself, behind any symbolic links. */
  readonly path: string
  /** null: there is none yet. */
  readonly before: Stats | null
}

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
  readonly #now: () => number
  readonly #files: Files
  readonly #deadline: number
  #tidy = false
  /** Counts are looked at once a second, and seldom move. */
  #rendered: { readonly counts: TypeCounts; readonly document: Buffer } | null = null
  /** What the disk has not answered yet. */
  #underWay: Promise<unknown> | null = null

  /** @param path of the file; its folder is made when it is missing */
  constructor(path: string, { now = Date.now, files = fs, deadline = DEADLINE }: TypeCountsFileOptions = {}) {
    this.#path = resolve(path)
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
      const place = await this.#find()
      if (place.before === null) await this.#ensureFolder(dirname(place.path))
      if (!this.#tidy) await this.#removeLeftovers(place.path)
      this.#tidy = true
      await this.#replace(place, this.#documentOf(counts))
    })
  }

  /**
   * To be called before anything is counted: nobody wants to learn later that the counts go nowhere, or have replaced somebody's database.
   * @throws OutputFileError (exit code 78) where something else than a file is there, or an SQLite database. Whatever else is wrong is tried
   * again by `write`.
   */
  async check(): Promise<void> {
    try {
      await this.#bounded('written', async () => {
        const { path, before } = await this.#find()
        if (before !== null && (await this.#isDatabase(path))) throw refusal(this.#path, 'a database (SQLite)')
      })
    } catch (error) {
      if (error instanceof OutputFileError && error.kind === 'not-a-file') throw error
    }
  }

  /** @throws OutputFileError where the file is there and cannot be read */
  async matches(counts: TypeCounts): Promise<boolean> {
    const document = this.#documentOf(counts)
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

  async #isDatabase(path: string): Promise<boolean> {
    await using file = await this.#files.open(path)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(SQLITE.length), 0, SQLITE.length, 0)
    return buffer.toString('latin1', 0, bytesRead) === SQLITE
  }

  #documentOf(counts: TypeCounts): Buffer {
    if (this.#rendered?.counts !== counts) this.#rendered = { counts, document: Buffer.from(typeCountsDocument(counts)) }
    return this.#rendered.document
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
      throw error instanceof OutputFileError ? error : outputFileError(what, this.#path, error as NodeJS.ErrnoException)
    }
  }

  /** Follows symbolic links, also to a file that is not there yet. @throws OutputFileError where they lead to something else than a file */
  async #find(): Promise<Place> {
    let path = this.#path
    for (let links = 0; links <= MOST_LINKS; links++) {
      const before = await this.#look(this.#files.lstat(path))
      if (before === null || before.isFile()) return { path, before }
      if (!before.isSymbolicLink()) throw noFile(this.#path, before)
      // The links of `/proc`, as `/dev/stdout` has one, lead to things that have no path.
      const behind = await this.#look(this.#files.stat(path))
      if (behind !== null && !behind.isFile()) throw noFile(this.#path, behind)
      const to = await this.#files.readlink(path)
      // Not made shorter: behind a folder that is a link itself, `..` is another folder.
      path = isAbsolute(to) ? to : `${dirname(path)}/${to}`
    }
    throw Object.assign(new Error(`more than ${MOST_LINKS} symbolic links`), { code: 'ELOOP' })
  }

  async #look(looking: Promise<Stats>): Promise<Stats | null> {
    try {
      return await looking
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  }

  /** Looks without waiting, since a network disk may hang; only what is missing is made. */
  async #ensureFolder(folder: string): Promise<void> {
    try {
      await this.#files.stat(folder)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      makeFolder(folder)
    }
  }

  async #replace({ path, before }: Place, document: Buffer): Promise<void> {
    // In the same folder, since a rename replaces only within one disk; at random, since in containers every process has the number 1.
    const temporary = `${dirname(path)}/${temporaryPrefix(path)}${randomBytes(8).toString('hex')}`
    try {
      const file = await this.#files.open(temporary, 'wx')
      try {
        await Promise.all([file.writeFile(document), before && keepOwnerAndMode(file, before)])
        // Before the rename: otherwise a power cut could leave the new name with no bytes.
        await file.sync()
      } finally {
        await file.close()
      }
      // Seen by every reader at once. The folder is not synced: a power cut may bring the older whole document back, as it may take the store's
      // last commits, and the next start publishes what the store says. That sync would be half of the time from an event to its count.
      await this.#files.rename(temporary, path)
    } catch (error) {
      await this.#files.rm(temporary, { force: true })
      throw error
    }
  }

  /** Temporary files of writers that were killed; young ones may belong to another instance, which is about to rename them. */
  async #removeLeftovers(path: string): Promise<void> {
    const folder = dirname(path)
    const prefix = temporaryPrefix(path)
    for (const name of await this.#files.readdir(folder)) {
      if (!name.startsWith(prefix)) continue
      const leftover = `${folder}/${name}`
      try {
        if ((await this.#files.stat(leftover)).mtimeMs < this.#now() - LEFTOVER_AGE) await this.#files.rm(leftover, { force: true })
      } catch (error) {
        // Another instance was quicker, or it belongs to another user, and then it is for them to remove: no reason not to publish.
        if (!['ENOENT', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      }
    }
  }
}

function temporaryPrefix(path: string): string {
  return `.${basename(path).slice(0, LONGEST_PREFIX)}.tmp-`
}

/** Gives the new file the owner and the mode of the one before, as far as this user may: only root may give files away. */
async function keepOwnerAndMode(file: fs.FileHandle, before: Stats): Promise<void> {
  const now = await file.stat()
  const isOwner = now.uid === before.uid && now.gid === before.gid
  // Others may at least give it to another group of theirs.
  if (!isOwner && !(await allowed(file.chown(before.uid, before.gid))) && now.gid !== before.gid) {
    await allowed(file.chown(now.uid, before.gid))
  }
  // Last, for a new owner takes bits away.
  if (now.mode !== before.mode) await allowed(file.chmod(before.mode & 0o7777))
}

/** EINVAL: an owner that a container does not know. ENOTSUP, ENOSYS: a disk that has no owners. */
const NOT_ALLOWED = ['EPERM', 'EINVAL', 'ENOTSUP', 'ENOSYS']

async function allowed(change: Promise<void>): Promise<boolean> {
  try {
    await change
    return true
  } catch (error) {
    if (NOT_ALLOWED.includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

function noFile(path: string, found: Stats): OutputFileError {
  const what =
    (found.isDirectory() && 'a folder') ||
    (found.isFIFO() && 'a named pipe') ||
    (found.isSocket() && 'a socket') ||
    (found.isCharacterDevice() || found.isBlockDevice() ? 'a device' : 'no file')
  return refusal(path, what)
}

function refusal(path: string, what: string): OutputFileError {
  return new OutputFileError(
    'not-a-file',
    `OUTPUT_FILE ${path} is ${what}, and is left alone: name another file, or one that is still to be made`,
  )
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
          ? 'it cannot be replaced, as a file that is mounted by itself cannot: mount the folder, not the file'
          : code === 'EROFS'
            ? `${error.message}: where the file is mounted by itself, mount the folder, not the file`
            : error.message
  return new OutputFileError(KINDS[code] ?? 'io', `the counts cannot be ${what}: ${path}: ${why}; it is tried again`, { cause: error })
}
