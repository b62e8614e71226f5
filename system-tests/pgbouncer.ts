/** A real pgbouncer in front of a PostgreSQL, for tests: Debian's package, or any other one on the PATH. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '@poke-api-pipeline/dev/free-port'
import { startListening } from './listening-program.ts'

export interface Pgbouncer {
  /** The same URL, through this pooler. */
  urlOf(url: string): string
  stop(): Promise<void>
}

/** Why there is no pgbouncer to test with; false if there is one. */
export function withoutPgbouncer(): string | false {
  const { error } = spawnSync('pgbouncer', ['--version'], { env: { ...process.env, PATH: PATH() } })
  return error === undefined ? false : 'pgbouncer is not installed (Debian: apt-get install pgbouncer)'
}

/** Debian installs it in a folder that is not in the PATH of ordinary users. */
const PATH = () => `${process.env.PATH}:/usr/sbin`

/**
 * @param behind a URL of the PostgreSQL server; the pooler accepts its user and password
 * @param settings as in its configuration file: `{ pool_mode: 'transaction' }`
 */
export async function startPgbouncer(behind: string, settings: Readonly<Record<string, string | number>>): Promise<Pgbouncer> {
  const { hostname, port: serverPort, username, password } = new URL(behind)
  const folder = mkdtempSync(join(tmpdir(), 'pgbouncer-'))
  const port = await freePort()
  const users = join(folder, 'users.txt')
  const file = join(folder, 'pgbouncer.ini')
  writeFileSync(users, `"${username}" "${password}"\n`)
  const all = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'plain',
    auth_file: users,
    ...settings,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}`)
  writeFileSync(file, ['[databases]', `* = host=${hostname} port=${serverPort}`, '[pgbouncer]', ...lines, ''].join('\n'))
  chmodSync(folder, 0o755)
  const options = { env: { ...process.env, PATH: PATH() }, ...nobody(users) }
  const stop = await startListening({ command: 'pgbouncer', args: [file], options, port, folder })
  return {
    urlOf: (url) => {
      const pooled = new URL(url)
      pooled.port = String(port)
      return pooled.href
    },
    stop: () => stop('SIGINT', 'SIGTERM'),
  }
}

/** The user to run it as, because it refuses to run as root. @param file that it must be able to read */
function nobody(file: string): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {}
  const [uid, gid] = ['-u', '-g'].map((which) => Number(execFileSync('id', [which, 'nobody'], { encoding: 'utf8' }))) as [number, number]
  chownSync(file, uid, gid)
  return { uid, gid }
}
