/** The machine and versions of a measurement, without which its figures mean nothing. */
import { execFile } from 'node:child_process'
import { cpus, loadavg, release, totalmem, type } from 'node:os'
import { promisify } from 'node:util'
import { KAFKA_VERSION } from '@poke-api-pipeline/dev'

const run = promisify(execFile)

/** Lines for people: date, commit, machine, versions, and the load of the machine. */
export async function describeEnvironment(): Promise<string[]> {
  const git = async (...args: string[]) => (await run('git', args, { cwd: import.meta.dirname })).stdout.trim()
  const commit = await git('rev-parse', '--short', 'HEAD').catch(() => 'unknown')
  const changed = await git('status', '--porcelain').catch(() => '')
  const java = /version "([^"]+)"/.exec((await run('java', ['-version'])).stderr)?.[1] ?? 'unknown'
  const [cpu] = cpus()
  return [
    `- Commit ${commit}${changed === '' ? '' : ', with changes that are not committed'}`,
    `- ${cpus().length} × ${cpu?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release()}; load before the start ${(loadavg()[0] as number).toFixed(2)}`,
    `- Node.js ${process.versions.node}, Java ${java}, Apache Kafka ${KAFKA_VERSION}; broker, reference, database and services on this one machine`,
  ]
}
