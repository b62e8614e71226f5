/** A disk of a few megabytes in memory that a test fills, clears, and makes read-only. Mounting needs the rights of an administrator on Linux. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Why small disks cannot be made here; null if they can. */
export const NO_SMALL_DISKS = whyNot()

export class SmallDisk {
  readonly dir: string
  readonly #ballast: string

  /** @param dir an empty folder that was made for it @param size in bytes */
  constructor(dir: string, size: number) {
    this.dir = dir
    this.#ballast = join(dir, 'ballast')
    mkdirSync(dir, { recursive: true })
    mount(dir, `size=${size}`)
  }

  /** Fills it to the last byte. */
  fill(): void {
    const file = openSync(this.#ballast, 'a')
    try {
      for (let piece = Buffer.alloc(64 * 1024); piece.length > 0; ) {
        try {
          writeSync(file, piece)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
          piece = piece.subarray(0, Math.floor(piece.length / 2))
        }
      }
    } finally {
      closeSync(file)
    }
  }

  /** Makes room again. */
  clear(): void {
    rmSync(this.#ballast, { force: true })
  }

  /** Makes it read-only, as soon as no process has a file on it open for writing. */
  readOnly(): void {
    for (;;) {
      try {
        mount(this.dir, 'remount,ro')
        return
      } catch (error) {
        if (!/is busy/.test(String((error as { stderr?: unknown }).stderr))) throw error
      }
    }
  }

  writable(): void {
    mount(this.dir, 'remount,rw')
  }

  /** Unmounts it; processes that still have files on it open keep them. */
  remove(): void {
    execFileSync('umount', ['--lazy', this.dir])
  }
}

function mount(dir: string, options: string): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', dir], { stdio: 'pipe' })
}

function whyNot(): string | null {
  if (process.platform !== 'linux') return `small disks are mounted on Linux alone, and this is ${process.platform}`
  const dir = mkdtempSync(join(tmpdir(), 'small-disk-'))
  try {
    mount(dir, 'size=4096')
    execFileSync('umount', [dir])
    return null
  } catch (error) {
    return `small disks cannot be mounted here: ${(error as Error).message.trim()}`
  } finally {
    rmdirSync(dir)
  }
}
