/** A lock that lets one process at a time work in a folder, and tells the others which process that is. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** What others can read about the holder of a lock. */
export interface Holder {
  /** `make start`, say. */
  readonly command: string
  readonly pid: number
  /** ISO 8601. */
  readonly since: string
  /** The address of its page, once it has one. */
  readonly page?: string
  /** Settings of its services, for other commands that are run meanwhile. No secrets. */
  readonly settings?: Readonly<Record<string, string>>
  /** The processes it runs, by name. */
  readonly processes?: Readonly<Record<string, number>>
}

export interface FolderLock {
  /** Adds to what others can read. */
  tell(more: Partial<Holder>): void
  release(): void
}

/**
 * Takes the lock. It is a lock of the operating system (through SQLite), so it ends with its process, however that ends.
 * @returns the lock, or its holder; the holder is null while it has published nothing yet
 */
export function lockFolder(folder: string, command: string): { lock: FolderLock } | { holder: Holder | null } {
  mkdirSync(folder, { recursive: true })
  const told = join(folder, 'running.json')
  const database = new DatabaseSync(join(folder, 'running.lock'), { timeout: 0 })
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (!/database is locked/.test((error as Error).message)) throw error
    return { holder: readHolder(told) }
  }
  let holder: Holder = { command, pid: process.pid, since: new Date().toISOString() }
  const tell = (more: Partial<Holder>) => {
    holder = { ...holder, ...more }
    writeFileSync(`${told}.new`, `${JSON.stringify(holder, null, 2)}\n`)
    renameSync(`${told}.new`, told)
  }
  tell({})
  const release = () => {
    rmSync(told, { force: true })
    database.close()
  }
  return { lock: { tell, release } }
}

function readHolder(file: string): Holder | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Holder
  } catch {
    return null // it has just taken the lock, and published nothing yet
  }
}
