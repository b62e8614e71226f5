/** A real pgbouncer in front of a PostgreSQL, for tests: Debian's package, or any other one on the PATH. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '@poke-api-pipeline/dev/free-port'

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
  const child = spawn('pgbouncer', [file], { env: { ...process.env, PATH: PATH() }, stdio: ['ignore', 'ignore', 'pipe'], ...nobody(users) })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const ended = once(child, 'exit')
  while (!(await accepts(port))) {
    if (child.exitCode !== null) {
      rmSync(folder, { recursive: true, force: true })
      throw new Error(`pgbouncer did not start:\n${log}`)
    }
    await sleep(10)
  }
  return {
    urlOf: (url) => {
      const pooled = new URL(url)
      pooled.port = String(port)
      return pooled.href
    },
    stop: async () => {
      child.kill('SIGINT')
      child.kill('SIGTERM')
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The user to run it as, because it refuses to run as root. @param file that it must be able to read */
function nobody(file: string): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {}
  const [uid, gid] = ['-u', '-g'].map((which) => Number(execFileSync('id', [which, 'nobody'], { encoding: 'utf8' }))) as [number, number]
  chownSync(file, uid, gid)
  return { uid, gid }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
