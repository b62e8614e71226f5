/** The settings of the working directory: those of its file `.env`, and those of a pipeline that runs there. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { printable } from './foreign-text.ts'
import { ownError } from './own-errors.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** In this file `make start` records what it runs; relative to the project's folder. */
export const RUNNING_FILE = join('data', 'running.json')

/** The part of that file that other programs need. */
interface Running {
  readonly command: string
  readonly pid: number
  readonly settings: Readonly<Record<string, string>>
}

export interface EnvironmentHere {
  readonly env: Environment
  /** A sentence that names the settings of the running pipeline that were added; null if none were. */
  readonly notice: string | null
}

/**
 * Adds the variables of the file `.env` to the environment. A variable of the environment takes precedence, even if it is empty. If `make start` or a
 * similar command runs here, its settings (brokers, store, topic) are added, too. None of them is added if the user has set one of them to another
 * value, because a store belongs to one Kafka.
 * @param names of the settings that the program has
 * @param folder the working directory
 * @throws ServiceError (exit code 78) if `.env` cannot be read, or is not text
 */
export function environmentHere(given: Environment, names: readonly string[], folder = '.'): EnvironmentHere {
  const env = { ...readEnvFile(join(folder, '.env')), ...given }
  const running = readRunning(join(folder, RUNNING_FILE))
  if (running === null) return { env, notice: null }
  const all = Object.keys(running.settings)
  if (all.some((name) => env[name] && env[name] !== running.settings[name])) return { env, notice: null }
  const taken = Object.fromEntries(all.filter((name) => names.includes(name)).map((name) => [name, running.settings[name]]))
  if (Object.keys(taken).length === 0) return { env, notice: null }
  const notice = `${running.command} runs here (process ${running.pid}); its settings are used: ${Object.entries(taken)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')}`
  return { env: { ...env, ...taken }, notice: printable(notice) }
}

function readEnvFile(path: string): Environment {
  // A folder of that name belongs to another program.
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return {}
  let content: Buffer
  try {
    content = readFileSync(path)
  } catch (error) {
    throw ownError('config/wrong', `the file .env cannot be read (${(error as NodeJS.ErrnoException).code}): let this user read it`)
  }
  try {
    return parseEnv(new TextDecoder(encodingOf(content), { fatal: true }).decode(content))
  } catch {
    throw ownError('config/wrong', 'the file .env is not text in UTF-8: save it as UTF-8')
  }
}

/** By the byte order mark that editors and shells of Windows write. The decoder removes it; otherwise it would be part of the first setting's name. */
function encodingOf(content: Buffer): string {
  const mark = content.toString('latin1', 0, 2)
  if (mark === '\xff\xfe') return 'utf-16le'
  return mark === '\xfe\xff' ? 'utf-16be' : 'utf-8'
}

/** Null if nothing runs. The file stays when a pipeline is killed, so its process is checked as well. */
function readRunning(path: string): Running | null {
  try {
    const { command, pid, settings } = JSON.parse(readFileSync(path, 'utf8')) as Partial<Running>
    if (typeof command !== 'string' || !Number.isSafeInteger(pid) || typeof settings !== 'object' || settings === null) return null
    if (!Object.values(settings).every((value) => typeof value === 'string')) return null
    process.kill(pid as number, 0)
    return { command, pid: pid as number, settings }
  } catch {
    // The file is missing or incomplete, or its process has ended.
    return null
  }
}
