/** Gets Apache Kafka itself: its own jars into the project's cache, or the official image where Java and Maven are missing. */
import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from '../free-port.ts'
import { END_PROCESS, whenThisProcessDies } from '../orphan-guard.ts'
import { brokerProperties } from './broker-properties.ts'
import { answersApiVersions } from './readiness.ts'

const run = promisify(execFile)

export const KAFKA_VERSION = '4.3.1'
export const KAFKA_IMAGE = `apache/kafka:${KAFKA_VERSION}`
/** Any cluster id will do (22 characters of base64url, a UUID); one for all lets a formatted directory be prepared once. */
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
  /** Options that make a start quick. */
  readonly jvmOptions: readonly string[]
  /** What `kafka-storage format` writes beside `meta.properties`: the versions of Kafka's features. */
  readonly bootstrapCheckpoint: string
}

export interface ImageDistribution {
  readonly kind: 'image'
  readonly image: string
}

/**
 * Makes sure that Kafka can be started, downloading it once into the project's `.cache` folder.
 * @param say told of each download before it begins
 * @throws where neither JDK and Maven nor Docker are there, or a download fails
 */
export async function ensureKafka(say: (line: string) => void = (line) => process.stderr.write(`${line}\n`)): Promise<KafkaDistribution> {
  const java = await findJava()
  if (java !== null) {
    const jars = join(CACHE, 'libs')
    if (existsSync(jars) || (await answers('mvn', '--version'))) {
      if (!existsSync(jars)) await downloadJars(jars, say)
      return prepare(java, jars, say)
    }
  }
  if (await answers('docker', 'info')) {
    if (!(await answers('docker', 'image', 'inspect', KAFKA_IMAGE))) {
      say(`Downloading the image ${KAFKA_IMAGE} through Docker`)
      await runLoudly('docker', ['pull', '--quiet', KAFKA_IMAGE])
    }
    return { kind: 'image', image: KAFKA_IMAGE }
  }
  throw new Error(
    `Kafka cannot be started here: it needs a JDK (${MINIMUM_JAVA} or newer) with Maven, or a running Docker, and ` +
      `${java === null ? 'no such JDK was found' : 'Maven (mvn) was not found'}, nor does Docker answer. ` +
      'Install one of the two, or set KAFKA_BROKERS to brokers that run already.',
  )
}

async function downloadJars(target: string, say: (line: string) => void): Promise<void> {
  say(`Downloading Apache Kafka ${KAFKA_VERSION} (44 MB of jars) through Maven into .cache/kafka-${KAFKA_VERSION}`)
  const unfinished = `${target}.${process.pid}`
  await runLoudly('mvn', [
    '--batch-mode',
    '-Dstyle.color=never',
    '--quiet',
    '--file',
    fileURLToPath(new URL('pom.xml', import.meta.url)),
    `-Dkafka.version=${KAFKA_VERSION}`,
    `-DoutputDirectory=${unfinished}`,
    '-DincludeScope=runtime',
    'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies',
  ])
  await moveIntoPlace(unfinished, target)
}

/**
 * Once for each Java: formats a directory to copy from, and keeps the loaded classes of a broker as an archive
 * (class data sharing, JEP 350), with which brokers start in half the time.
 */
async function prepare(java: Java, libs: string, say: (line: string) => void): Promise<JarDistribution> {
  const jars = (await readdir(libs)).filter((name) => name.endsWith('.jar')).sort()
  const classPath = jars.map((name) => join(libs, name)).join(delimiter)
  // Java refuses an archive that was made for other paths.
  const place = createHash('sha1').update(classPath).digest('hex').slice(0, 8)
  const prepared = join(CACHE, `java-${java.version}-${place}`)
  const archive = join(prepared, 'classes.jsa')
  const bootstrapCheckpoint = join(prepared, 'bootstrap.checkpoint')
  if (!existsSync(prepared)) {
    say(`Preparing Kafka for Java ${java.version} (once, a few seconds)`)
    const unfinished = `${prepared}.${process.pid}`
    await mkdir(unfinished, { recursive: true })
    await train(java.path, classPath, unfinished)
    await moveIntoPlace(unfinished, prepared)
  }
  return {
    kind: 'jars',
    java: java.path,
    classPath,
    jvmOptions: [...QUICK_START, `-XX:SharedArchiveFile=${archive}`],
    bootstrapCheckpoint,
  }
}

/** The first compiler alone and the simplest collector: a broker for one user lives for minutes and is idle for most of them. */
const QUICK_START = ['-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto']

async function train(java: string, classPath: string, directory: string): Promise<void> {
  const logDir = join(directory, 'training')
  const properties = join(directory, 'training.properties')
  const [port, controllerPort] = [await freePort(), await freePort()]
  const place = { nodeId: 1, port, controllers: new Map([[1, controllerPort]]), logDir, listenOn: '127.0.0.1' }
  await writeFile(properties, brokerProperties(place, {}))
  const options = [...QUICK_START, '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-cp', classPath]
  await run(java, [...options, 'kafka.tools.StorageTool', 'format', '-t', CLUSTER_ID, '-c', properties])
  await copyFile(join(logDir, 'bootstrap.checkpoint'), join(directory, 'bootstrap.checkpoint'))

  const broker = spawn(java, [`-XX:ArchiveClassesAtExit=${join(directory, 'classes.jsa')}`, ...options, 'kafka.Kafka', properties], {
    stdio: 'ignore',
  })
  const endWatch = whenThisProcessDies(END_PROCESS, String(broker.pid))
  const ended = new Promise<void>((resolve) => broker.once('close', () => resolve()))
  try {
    while (broker.exitCode === null && !(await answersApiVersions(port))) await pause(50)
    broker.kill('SIGTERM')
  } finally {
    await ended
    endWatch()
  }
  await rm(logDir, { recursive: true, force: true })
}

interface Java {
  readonly path: string
  readonly version: string
}

/** The Java of JAVA_HOME, otherwise that of the PATH; null where there is none or it is too old. */
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

/** Runs a command and shows what it writes. @throws where it fails */
function runLoudly(command: string, args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 2, 2] })
    const endWatch = whenThisProcessDies(END_PROCESS, String(child.pid))
    child.once('error', reject)
    child.once('close', (code, signal) => {
      endWatch()
      if (code === 0) resolve()
      else reject(new Error(`${command} failed (${signal ?? `exit code ${code}`}): what it says is above. Is the network there?`))
    })
  })
}

/** Several processes may prepare the same folder at once: the first one's stays. */
async function moveIntoPlace(unfinished: string, target: string): Promise<void> {
  try {
    await rename(unfinished, target)
  } catch (error) {
    if (!existsSync(target)) throw error
    await rm(unfinished, { recursive: true, force: true })
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
