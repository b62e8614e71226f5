/** A real nginx in front of the page, for tests: Debian's package, or any other one on the PATH. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '@poke-api-pipeline/dev/free-port'
import { startListening } from './listening-program.ts'

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
  const stop = await startListening({ command: 'nginx', args: ['-p', folder, '-c', file], options: { env: ENV }, port, folder })
  return { url: `http://127.0.0.1:${port}`, stop: () => stop('SIGTERM') }
}
