/**
 * Writes `type-counts.json`, always as one whole document: a temporary file, fsync and rename, so that no reader and no crash sees half of it.
 * Only a regular file is replaced. A symbolic link stays, and the file that it leads to is replaced. The new file gets owner and mode of the old one.
 */
import { randomBytes } from 'node:crypto'
import type { Stats } from 'node:fs'
import fs from 'node:fs/promises'
import { basename, dirname, isAbsolute, resolve } from 'node:path'
import { DeadlinePassed, makeFolder, onDisk, printableJson, withDeadline } from '@poke-api-pipeline/service-kit'
import type { TypeCountsSink } from '../../application/ports.ts'
import type { TypeCounts } from '../../entities/tally.ts'
import { OutputFileError, type OutputFileErrorKind } from '../../errors.ts'

/** The part of `node:fs/promises` that is used. */
export type Files = Pick<typeof fs, 'lstat' | 'open' | 'readdir' | 'readFile' | 'readlink' | 'rename' | 'rm' | 'stat'>

export interface TypeCountsFileOptions {
  /** ms since 1970 */
  readonly now?: () => number
  readonly files?: Files
  /** The time for the disk to answer, in ms. */
  readonly deadline?: number
}

/** The age of a temporary file, in ms, from which its writer was surely killed: replacing a file takes some ms. */
const LEFTOVER_AGE = 60_000
/** A network disk that is unreachable may never answer. */
const DEADLINE = 5000
/** The first bytes of a SQLite database: https://www.sqlite.org/fileformat.html */
const SQLITE = 'SQLite format 3\0'
/** The characters of the file's name in the name of its temporary file: disks allow names of 255 bytes. */
const LONGEST_PREFIX = 50
/** The number of symbolic links that Linux follows. */
const MOST_LINKS = 40

/** The file that is replaced. */
interface Place {
  /** Its path, behind any symbolic links. */
  readonly path: string
  /** The present file; null where there is none. */
  readonly before: Stats | null
}

/**
 * @returns the published document: `{"types":{"bug":106,…}}` and a line feed. Types are sorted, so equal counts give equal bytes. The JSON is put
 * together by hand, because an object would put a type whose name is a number first.
 */
export function typeCountsDocument(counts: TypeCounts): string {
  const types = [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([type, count]) => `${JSON.stringify(type)}:${count}`)
  // Without control characters, so that printing the file is harmless.
  return printableJson(`{"types":{${types.join(',')}}}\n`)
}

export class TypeCountsFile implements TypeCountsSink {
  readonly #path: string
  readonly #now: () => number
  readonly #files: Files
  readonly #deadline: number
  #tidy = false
  /** The last document: `matches` is called once a second, and the counts seldom change. */
  #rendered: { readonly counts: TypeCounts; readonly document: Buffer } | null = null
  /** The operation that the disk has not finished yet. */
  #underWay: Promise<unknown> | null = null

  /** @param path of the file; its folder is made when it is missing */
  constructor(path: string, { now = Date.now, files = fs, deadline = DEADLINE }: TypeCountsFileOptions = {}) {
    this.#path = resolve(path)
    this.#now = now
    this.#files = files
    this.#deadline = deadline
  }

  /**
   * Replaces the document. Only one call at a time: of two, the older counts could be written last.
   * @throws OutputFileError, which names the path. The previous document is still there, and the next call tries again. While the disk hangs,
   * each call is refused.
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
   * Call it before anything is counted, so that a wrong path is noticed at once and no database is replaced.
   * @throws OutputFileError (exit code 78) where the path has a SQLite database or something that is not a file. `write` reports everything else.
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
        // Reading a pipe could block for ever, and a file of another size cannot match.
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

  /** Runs an operation within the deadline. It is refused while an earlier one hangs, because that one could replace a newer document by an older one. */
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

  /** Follows symbolic links, also to a file that does not exist yet. @throws OutputFileError where they lead to something that is not a file */
  async #find(): Promise<Place> {
    let path = this.#path
    for (let links = 0; links <= MOST_LINKS; links++) {
      const before = await this.#statOrNull(this.#files.lstat(path))
      if (before === null || before.isFile()) return { path, before }
      if (!before.isSymbolicLink()) throw noFile(this.#path, before)
      // Links of `/proc`, for example behind `/dev/stdout`, lead to objects without a path.
      const behind = await this.#statOrNull(this.#files.stat(path))
      if (behind !== null && !behind.isFile()) throw noFile(this.#path, behind)
      const to = await this.#files.readlink(path)
      // The path is not normalised: behind a folder that is itself a link, `..` means another folder.
      path = isAbsolute(to) ? to : `${dirname(path)}/${to}`
    }
    throw Object.assign(new Error(`more than ${MOST_LINKS} symbolic links`), { code: 'ELOOP' })
  }

  async #statOrNull(stat: Promise<Stats>): Promise<Stats | null> {
    try {
      return await stat
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  }

  /** Creates the folder where it is missing. It is examined asynchronously first, because a network disk may hang. */
  async #ensureFolder(folder: string): Promise<void> {
    try {
      await this.#files.stat(folder)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      makeFolder(folder)
    }
  }

  async #replace({ path, before }: Place, document: Buffer): Promise<void> {
    // In the same folder, because a rename works within one disk only; with a random name, because in containers every process has the number 1.
    const temporary = `${dirname(path)}/${temporaryPrefix(path)}${randomBytes(8).toString('hex')}`
    try {
      const file = await this.#files.open(temporary, 'wx')
      try {
        await Promise.all([file.writeFile(document), before && keepOwnerAndMode(file, before)])
        // Before the rename: otherwise a power cut could leave an empty file under the new name.
        await file.sync()
      } finally {
        await file.close()
      }
      // Every reader sees the new document at once. The folder is not synced: a power cut may bring back the older document, and the next start
      // publishes the store's counts again. That sync would take half of the time from an event to its published count.
      await this.#files.rename(temporary, path)
    } catch (error) {
      await this.#files.rm(temporary, { force: true })
      throw error
    }
  }

  /** Removes the temporary files of writers that were killed. A young one may belong to another instance, which is about to rename it. */
  async #removeLeftovers(path: string): Promise<void> {
    const folder = dirname(path)
    const prefix = temporaryPrefix(path)
    for (const name of await this.#files.readdir(folder)) {
      if (!name.startsWith(prefix)) continue
      const leftover = `${folder}/${name}`
      try {
        if ((await this.#files.stat(leftover)).mtimeMs < this.#now() - LEFTOVER_AGE) await this.#files.rm(leftover, { force: true })
      } catch (error) {
        // Another instance has removed it, or it belongs to another user: that must not prevent publishing.
        if (!['ENOENT', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      }
    }
  }
}

function temporaryPrefix(path: string): string {
  return `.${basename(path).slice(0, LONGEST_PREFIX)}.tmp-`
}

/** Gives the new file the owner and mode of the old one, as far as this user may: only root may change the owner. */
async function keepOwnerAndMode(file: fs.FileHandle, before: Stats): Promise<void> {
  const now = await file.stat()
  const isOwner = now.uid === before.uid && now.gid === before.gid
  // Other users may at least choose another one of their groups.
  if (!isOwner && !(await allowed(file.chown(before.uid, before.gid))) && now.gid !== before.gid) {
    await allowed(file.chown(now.uid, before.gid))
  }
  // Last, because changing the owner clears some bits.
  if (now.mode !== before.mode) await allowed(file.chmod(before.mode & 0o7777))
}

/** EINVAL: the container does not know the owner. ENOTSUP, ENOSYS: the disk has no owners. */
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
    (found.isCharacterDevice() || found.isBlockDevice() ? 'a device' : 'not a file')
  return refusal(path, what)
}

function refusal(path: string, what: string): OutputFileError {
  return new OutputFileError('not-a-file', `OUTPUT_FILE ${path} is ${what}, and was not replaced: name another file, which may be missing`)
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
  return new OutputFileError('hangs', `the counts cannot be ${what}: ${path}: the disk does not answer; the service waits for it`)
}

function outputFileError(what: 'read' | 'written', path: string, error: NodeJS.ErrnoException): OutputFileError {
  const code = error.code ?? ''
  const why =
    code === 'EISDIR'
      ? 'a folder has this name'
      : code === 'ENOTDIR' || code === 'EEXIST'
        ? 'a part of its path is a file, not a folder'
        : code === 'EBUSY'
          ? 'it cannot be replaced, probably because the file itself is mounted: mount its folder instead'
          : code === 'EROFS'
            ? `${error.message}: if the file itself is mounted, mount its folder instead`
            : error.message
  return new OutputFileError(KINDS[code] ?? 'io', `the counts cannot be ${what}: ${path}: ${why}; the service retries`, { cause: error })
}
