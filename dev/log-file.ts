/** The logs of background processes: bounded in size; their last lines are shown when a process ends. */
import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync, statSync } from 'node:fs'
import { printable } from '@poke-api-pipeline/service-kit'

const LARGEST = 10 * 1024 * 1024
/** Enough bytes for the last lines of any log of ours. */
const TAIL = 256 * 1024

/** Opens a log to append to; a large one is first renamed to `….old`. @returns a file descriptor, to be closed */
export function openLog(file: string): number {
  if (existsSync(file) && statSync(file).size > LARGEST) renameSync(file, `${file}.old`)
  return openSync(file, 'a')
}

/** The last lines of a log; a service's lines of JSON become time, level and message. @param from the position at which to begin, in bytes */
export function lastLines(file: string, count: number, from = 0): string[] {
  if (!existsSync(file)) return []
  const log = openSync(file, 'r')
  try {
    const { size } = fstatSync(log)
    const start = Math.max(from, size - TAIL)
    const bytes = Buffer.alloc(Math.max(0, size - start))
    const read = readSync(log, bytes, 0, bytes.length, start)
    return bytes
      .toString('utf8', 0, read)
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-count)
      .map(readable)
  } finally {
    closeSync(log)
  }
}

/** The size of a log, in bytes: the position at which its next lines begin. */
export function sizeOf(file: string): number {
  return existsSync(file) ? statSync(file).size : 0
}

function readable(line: string): string {
  const entry = parseEntry(line)
  return printable(entry === null ? line : `${entry.time.slice(11, 19)} ${entry.level} ${entry.msg}`)
}

function parseEntry(line: string): { time: string; level: string; msg: string } | null {
  try {
    const { time, level, msg } = JSON.parse(line) as Record<string, unknown>
    return typeof msg === 'string' ? { time: String(time), level: String(level), msg } : null
  } catch {
    return null
  }
}
