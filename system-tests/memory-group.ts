/**
 * A control group with a bound on the memory of its processes together, as a container has: beyond it the kernel kills. Making one needs the rights
 * of an administrator on Linux, and version 1 or 2 of the memory controller.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The files of both versions of the controller (https://docs.kernel.org/admin-guide/cgroup-v1/memory.html, …/cgroup-v2.html#memory). */
const VERSIONS = [
  { root: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes', peak: 'memory.max_usage_in_bytes' },
  { root: '/sys/fs/cgroup', limit: 'memory.max', peak: 'memory.peak' },
] as const

export class MemoryGroup {
  readonly #dir: string
  readonly #files: (typeof VERSIONS)[number]

  /** @param bytes the most that its processes may use together */
  constructor(name: string, bytes: number) {
    const version = VERSIONS.find(({ root, limit }) => existsSync(join(root, 'cgroup.procs')) && hasController(root, limit))
    if (version === undefined) throw new NoController('no memory controller is mounted under /sys/fs/cgroup')
    this.#files = version
    this.#dir = join(version.root, `poke-${name}-${process.pid}`)
    mkdirSync(this.#dir)
    writeFileSync(join(this.#dir, version.limit), String(bytes))
  }

  /** Words in front of a command that put its process and its children into the group. */
  get launcher(): readonly string[] {
    return ['sh', '-c', `echo $$ > ${join(this.#dir, 'cgroup.procs')} && exec "$@"`, 'sh']
  }

  /** The most that was in use at one time, in bytes, including the pages of files that the kernel keeps for the processes. */
  get peak(): number {
    return Number(readFileSync(join(this.#dir, this.#files.peak), 'utf8'))
  }

  /** Removes the group; call it after its processes have ended. */
  remove(): void {
    rmdirSync(this.#dir)
  }
}

class NoController extends Error {}

/** In version 2 a group has the controller's files only if its parent enables the controller for its children. */
function hasController(root: string, limit: string): boolean {
  if (limit !== 'memory.max') return existsSync(join(root, limit))
  const handedOn = join(root, 'cgroup.subtree_control')
  return existsSync(handedOn) && readFileSync(handedOn, 'utf8').split(/\s/).includes('memory')
}

function whyNot(): string | null {
  if (process.platform !== 'linux')
    return `groups of processes with a limit of memory are made on Linux alone, and this is ${process.platform}`
  try {
    new MemoryGroup('try', 64 * 1024 * 1024).remove()
    return null
  } catch (error) {
    if (!(error instanceof NoController) && (error as NodeJS.ErrnoException).code === undefined) throw error
    return `a group of processes with a limit of memory cannot be made here: ${(error as Error).message}`
  }
}

/** Why such groups cannot be made here; null if they can. */
export const NO_MEMORY_GROUPS = whyNot()
