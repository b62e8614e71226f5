/** What the tests of one file share from before the first test to after the last one: a folder, a broker and, if they need it, a database. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { type Kafka, startKafka } from '@poke-api-pipeline/dev'
import { type PostgresServer, startPostgres } from './postgres-server.ts'

export interface Servers {
  /** A folder for the files of the tests. */
  readonly dir: string
  /** Broker and database run when the first test begins. */
  readonly kafka: Kafka
  readonly postgres: PostgresServer
}

/** @param name begins the folder's name */
export function serversOfFile(name: string, { postgres: wanted = false } = {}): Servers {
  const dir = mkdtempSync(join(tmpdir(), `${name}-`))
  let kafka: Kafka
  let postgres: PostgresServer | null = null
  before(async () => {
    ;[kafka, postgres] = await Promise.all([startKafka({ dir: join(dir, 'kafka') }), wanted ? startPostgres() : null])
  })
  after(async () => {
    // At once, because its data are removed.
    await Promise.all([kafka.kill(), postgres?.stop()])
    rmSync(dir, { recursive: true, force: true })
  })
  return {
    dir,
    get kafka() {
      return kafka
    },
    get postgres() {
      if (postgres === null) throw new TypeError(`the tests of ${name} have asked for no database`)
      return postgres
    },
  }
}
