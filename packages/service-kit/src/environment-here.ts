/** The settings of the folder in which a program is started: those of its file `.env`, and those of a pipeline that runs there. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { printable } from './foreign-text.ts'
import { ownError } from './own-errors.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Where `make start` says what it runs; from the project's folder. */
export const RUNNING_FILE = join('data', 'running.json')

/** Of what `make start` says, the part that other programs need. */
interface Running {
  readonly command: string
  readonly pid: number
  readonly settings: Readonly<Record<string, string>>
}

export interface EnvironmentHere {
  readonly env: Environment
  /** What was taken from a pipeline that runs here, in a sentence; null where nothing was. */
  readonly said: string | null
}

/**
 * Adds to the environment what the file `.env` has; what the environment has itself wins, also where it is empty. Where one of `make start` and
 * its like runs here and the user has set nothing otherwise of what it has set (its brokers, its store, its topic), all of that is added, too: the
 * counts of a store are of one Kafka alone. What `.env` sets, it has read itself.
 * @param names of the settings that the program has
 * @param folder the working directory
 * @throws ServiceError (exit code 78) where `.env` cannot be read, or is no text
 */
export function environmentHere(given: Environment, names: readonly string[], folder = '.'): EnvironmentHere {
  const env = { ...readEnvFile(join(folder, '.env')), ...given }
  const running = readRunning(join(folder, RUNNING_FILE))
  if (running === null) return { env, said: null }
  const all = Object.keys(running.settings)
  if (all.some((name) => env[name] && env[name] !== running.settings[name])) return { env, said: null }
  const taken = Object.fromEntries(all.filter((name) => names.includes(name)).map((name) => [name, running.settings[name]]))
  if (Object.keys(taken).length === 0) return { env, said: null }
  const said = `${running.command} runs here (process ${running.pid}), and these are its settings: ${Object.entries(taken)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')}`
  return { env: { ...env, ...taken }, said: printable(said) }
}

function readEnvFile(path: string): Environment {
  // A folder of that name is another program's.
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
    throw ownError('config/wrong', 'the file .env is no text in UTF-8: save it as UTF-8')
  }
}

/** By the mark at its beginning, which editors and shells of Windows write; decoding takes it away, which otherwise hides the first setting. */
function encodingOf(content: Buffer): string {
  const mark = content.toString('latin1', 0, 2)
  if (mark === '\xff\xfe') return 'utf-16le'
  return mark === '\xfe\xff' ? 'utf-16be' : 'utf-8'
}

/** Null where nothing runs: the file of one that was killed stays. */
function readRunning(path: string): Running | null {
  try {
    const { command, pid, settings } = JSON.parse(readFileSync(path, 'utf8')) as Partial<Running>
    if (typeof command !== 'string' || !Number.isSafeInteger(pid) || typeof settings !== 'object' || settings === null) return null
    if (!Object.values(settings).every((value) => typeof value === 'string')) return null
    process.kill(pid as number, 0)
    return { command, pid: pid as number, settings }
  } catch {
    // No file, half of one, or its process is gone.
    return null
  }
}
