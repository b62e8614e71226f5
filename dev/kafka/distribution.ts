/** Downloads Apache Kafka: its jars into the project's cache, or the official image where Java and Maven are missing. */
import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify, stripVTControlCharacters } from 'node:util'
import { END_PROCESS, whenThisProcessEnds } from '../orphan-guard.ts'
import { brokerProperties } from './broker-properties.ts'

const run = promisify(execFile)

export const KAFKA_VERSION =
  process.env.KAFKA_VERSION || /<kafka\.version>(.*)<\/kafka\.version>/.exec(readFileSync(new URL('pom.xml', import.meta.url), 'utf8'))![1]!
export const KAFKA_IMAGE = `apache/kafka:${KAFKA_VERSION}`
/** One cluster id (a UUID as 22 characters of base64url) for all clusters, so that a formatted folder is prepared only once. */
export const CLUSTER_ID = 'UG9rZW1vbi10eXBlcy1rYQ'

const CACHE = fileURLToPath(new URL(`../../.cache/kafka-${KAFKA_VERSION}`, import.meta.url))
const MINIMUM_JAVA = 17

export type KafkaDistribution = JarDistribution | ImageDistribution

export interface JarDistribution {
  readonly kind: 'jars'
  /** The `java` to run. */
  readonly java: string
  /** Class path of the broker and its tools. */
  readonly classPath: string
  /** The file of the archive of classes, which may not exist yet: see `class-archive.ts`. */
  readonly classArchive: string
  /** A folder with what `kafka-storage format` writes beside `meta.properties`: the versions of Kafka's features. */
  readonly formatted: string
}

export interface ImageDistribution {
  readonly kind: 'image'
  readonly image: string
}

/**
 * Downloads Kafka into the project's folder `.cache`, unless it is there.
 * @param say prints a line before each download
 * @throws Error where there is neither a JDK with Maven nor Docker, or a download fails
 */
export async function getKafka(say: (line: string) => void): Promise<KafkaDistribution> {
  const java = await findJava()
  if (java !== null) {
    const jars = join(CACHE, 'libs')
    if (existsSync(jars) || (await answers('mvn', '--version'))) {
      if (!existsSync(jars)) await downloadJars(jars, say)
      return prepare(java, jars)
    }
  }
  if (await answers('docker', 'info')) {
    if (!(await answers('docker', 'image', 'inspect', KAFKA_IMAGE))) {
      say(`Downloading the image ${KAFKA_IMAGE} through Docker`)
      await runPatiently('docker', ['pull', '--quiet', KAFKA_IMAGE])
    }
    return { kind: 'image', image: KAFKA_IMAGE }
  }
  throw new Error(
    `Kafka cannot be started: it needs a JDK (${MINIMUM_JAVA} or newer) with Maven, or a running Docker. ` +
      `${java === null ? 'No such JDK' : 'Maven (mvn)'} was found, and Docker does not answer. ` +
      'Install one of the two, or set KAFKA_BROKERS to brokers that are running.',
  )
}

async function downloadJars(target: string, say: (line: string) => void): Promise<void> {
  say(`Downloading Apache Kafka ${KAFKA_VERSION} (44 MB of jars) through Maven into .cache/kafka-${KAFKA_VERSION}`)
  await runPatiently('/bin/sh', [fileURLToPath(new URL('download.sh', import.meta.url)), target])
}

/** Formats a folder to copy from, once for each Java. */
async function prepare(java: Java, libs: string): Promise<JarDistribution> {
  const jars = (await readdir(libs)).filter((name) => name.endsWith('.jar')).sort()
  const classPath = jars.map((name) => join(libs, name)).join(delimiter)
  // The prepared files are valid for these paths only.
  const place = createHash('sha1').update(classPath).digest('hex').slice(0, 8)
  const prepared = join(CACHE, `java-${java.version}-${place}`)
  const formatted = join(prepared, 'formatted')
  if (!existsSync(formatted)) {
    await mkdir(prepared, { recursive: true })
    await format(java.path, classPath, formatted)
  }
  return { kind: 'jars', java: java.path, classPath, formatted, classArchive: join(prepared, 'classes.jsa') }
}

/** Formats a folder with Kafka's own tool, and keeps what is the same for every broker. */
async function format(java: string, classPath: string, target: string): Promise<void> {
  const unfinished = `${target}.${process.pid}`
  const logDir = `${unfinished}.log`
  const properties = `${unfinished}.properties`
  const place = { nodeId: 1, port: 9092, controllers: new Map([[1, 9093]]), logDir, listenOn: '127.0.0.1' }
  await writeFile(properties, brokerProperties(place, {}))
  await run(java, ['-XX:TieredStopAtLevel=1', '-cp', classPath, 'kafka.tools.StorageTool', 'format', '-t', CLUSTER_ID, '-c', properties])
  await rm(join(logDir, 'meta.properties'))
  await rename(logDir, target).catch((error: unknown) => {
    // Another process may have been faster.
    if (!existsSync(target)) throw error
  })
  await rm(logDir, { recursive: true, force: true })
  await rm(properties)
}

interface Java {
  readonly path: string
  readonly version: string
}

/** The Java of JAVA_HOME, otherwise of the PATH; null where there is none, or it is too old. */
async function findJava(): Promise<Java | null> {
  const home = process.env.JAVA_HOME
  for (const path of [...(home ? [join(home, 'bin', 'java')] : []), 'java']) {
    const output = await run(path, ['-version']).then(
      ({ stderr }) => stderr,
      () => '',
    )
    const version = /version "((\d+)[^"]*)"/.exec(output)
    if (version !== null && Number(version[2]) >= MINIMUM_JAVA) return { path, version: version[1]! }
  }
  return null
}

function answers(command: string, ...args: string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  )
}

/** Runs a command that may take minutes. @throws Error where it fails, with its output */
function runPatiently(command: string, args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const endWatch = whenThisProcessEnds(END_PROCESS, String(child.pid))
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (said += text))
    child.once('error', reject)
    child.once('close', (code, signal) => {
      endWatch()
      if (code === 0) return resolve()
      const words = stripVTControlCharacters(said).trim().split('\n').slice(0, 12).join('\n')
      reject(new Error(`The download failed (${signal ?? `exit code ${code}`}): check the network. Its output:\n${words}`))
    })
  })
}
