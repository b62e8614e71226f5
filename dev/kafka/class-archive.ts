/**
 * Halves the start of brokers: the classes that a broker loads are stored once as an archive (class data sharing, JEP 350).
 * An archive is valid for one Java and one class path; Java ignores any other, and then the start is no faster.
 */
import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../free-port.ts'
import { launchBroker } from './broker-process.ts'
import { brokerProperties } from './broker-properties.ts'
import type { JarDistribution } from './distribution.ts'

/** Writing the archive takes seconds after the broker itself has ended. */
const STOP_WITHIN = 60_000

/**
 * Builds the archive unless there is one: it runs a broker until that answers, which takes some ten seconds.
 * @param signal cancels it
 */
export async function buildClassArchive(distribution: JarDistribution, signal?: AbortSignal): Promise<void> {
  const { classArchive } = distribution
  if (existsSync(classArchive) || signal?.aborted) return
  const dir = `${classArchive}.${process.pid}`
  const [port, controllerPort] = [await freePort(), await freePort()]
  const broker = await launchBroker({
    distribution,
    dir,
    nodeId: 1,
    port,
    logFile: join(dir, 'kafka.log'),
    jvmOptions: [`-XX:ArchiveClassesAtExit=${join(dir, 'classes.jsa')}`],
    properties: (logDir, listenOn) =>
      brokerProperties({ nodeId: 1, port, controllers: new Map([[1, controllerPort]]), logDir, listenOn }, {}),
  })
  const cancel = () => void broker.kill('SIGKILL')
  signal?.addEventListener('abort', cancel)
  try {
    await broker.ready()
    await broker.stop(STOP_WITHIN)
    // Several processes may build one at the same time: the archives are alike, and a rename replaces the whole file.
    if (!signal?.aborted) await rename(join(dir, 'classes.jsa'), classArchive)
  } catch (error) {
    if (!signal?.aborted) throw error
  } finally {
    signal?.removeEventListener('abort', cancel)
    await broker.kill('SIGKILL')
    await rm(dir, { recursive: true, force: true })
  }
}
