/** Makes a folder with those above it. */
import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * What `mkdirSync` with `recursive` is for, which never returns where a folder is there and can hold none, as `/proc`: it takes the ENOENT
 * of the one for a missing parent, finds the parent, and tries again, for ever.
 * @param mode of the folders that are made, which the process's umask narrows; 0o700 where nobody else is to look into them
 * @throws the system's error where it cannot be made, or is something else
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
