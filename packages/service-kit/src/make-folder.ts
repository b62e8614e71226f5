/** Creates a folder and its missing parents. */
import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Replaces `mkdirSync` with `recursive`, which never returns in a folder such as `/proc`: creating a folder there fails with ENOENT, `mkdirSync` takes
 * this for a missing parent, finds the parent, and tries again for ever.
 * @param mode of the created folders, reduced by the process's umask; 0o700 if only this user may read them
 * @throws the system's error if it cannot be created, or is not a folder
 */
export function makeFolder(path: string, mode = 0o777): void {
  try {
    mkdirSync(path, { mode })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const parent = dirname(path)
    if (code === 'ENOENT' && parent !== path && !isFolder(parent)) {
      makeFolder(parent, mode)
      makeFolder(path, mode)
    } else if (!isFolder(path)) throw error
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
