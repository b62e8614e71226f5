/** Helpers for tests of settings. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ServiceError } from '../src/service-error.ts'

/** @returns the error that reading the settings throws; fails if it throws none, or another one */
export function failureOf(read: () => unknown): ServiceError {
  try {
    read()
  } catch (error) {
    assert.ok(error instanceof ServiceError, `it threw ${error}`)
    return error
  }
  assert.fail('nothing was thrown')
}

/** Calls `use` with the path of a file with this content, and removes the file afterwards. */
export function withFile(content: string, use: (file: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'settings-'))
  try {
    const file = join(folder, 'secret')
    writeFileSync(file, content)
    use(file)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
