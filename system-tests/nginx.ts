/** A real nginx in front of the page, for tests: Debian's package, or any other one on the PATH. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '@poke-api-pipeline/dev/free-port'

export interface Nginx {
  /** `http://host:port` */
  readonly url: string
  stop(): Promise<void>
}

/** Debian installs it in a folder that is not in the PATH of ordinary users. */
const ENV = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }

/** Why there is no nginx to test with; false if there is one. */
export function withoutNginx(): string | false {
  const { error } = spawnSync('nginx', ['-v'], { env: ENV })
  return error === undefined ? false : 'nginx is not installed (Debian: apt-get install nginx)'
}

/** @param locations the `location` blocks of its only server */
export async function startNginx(locations: string): Promise<Nginx> {
  const folder = mkdtempSync(join(tmpdir(), 'nginx-'))
  const port = await freePort()
  const file = join(folder, 'nginx.conf')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `${what}_temp_path ${folder}/${what};`)
  writeFileSync(
    file,
    [
      `daemon off; master_process off; pid ${folder}/pid; error_log stderr;`,
      'events {}',
      `http { access_log off; ${temporary.join(' ')} server { listen 127.0.0.1:${port}; ${locations} } }`,
    ].join('\n'),
  )
  const child = spawn('nginx', ['-p', folder, '-c', file], { env: ENV, stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const ended = once(child, 'exit')
  while (!(await accepts(port))) {
    if (child.exitCode !== null) {
      rmSync(folder, { recursive: true, force: true })
      throw new Error(`nginx did not start:\n${log}`)
    }
    await sleep(10)
  }
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      child.kill('SIGTERM')
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
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
