/** Runs programs of the Java platform with Kafka's own jars: its tools, and small ones that use its reference client. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Kafka } from 'dev'

export interface JavaRun {
  readonly output: string
  /** User and system time of the whole process, in seconds. */
  readonly cpuSeconds: number
}

/**
 * Runs to its end.
 * @param args a class or a single source file, then its arguments
 * @throws where it fails, with what it said
 */
export async function java(kafka: Kafka, args: readonly string[]): Promise<JavaRun> {
  if (kafka.jars === '')
    throw new Error('Measurements need a JDK (17 or newer) and Maven: a Kafka in a container brings no reference client along.')
  const home = process.env.JAVA_HOME
  const program = home ? join(home, 'bin', 'java') : 'java'
  // The shell's own `times` tells what its child has used: Node has no word for it.
  const script = '"$@"; code=$?; times >&2; exit $code'
  const quiet = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-Xmx2g']
  const child = spawn('/bin/sh', ['-c', script, 'java', program, ...quiet, '-cp', kafka.jars, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.on('data', (chunk) => {
    errors += chunk
  })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) throw new Error(`java ${args.join(' ')} failed (exit code ${code}):\n${errors}${output}`)
  return { output, cpuSeconds: childrenSeconds(errors) }
}

/** `times` writes two lines, user and system time in each (0m1.234s): the shell's, then its children's (POSIX, "times"). */
function childrenSeconds(errors: string): number {
  const times = [...errors.matchAll(/(\d+)m([\d.]+)s/g)].slice(-2)
  if (times.length < 2) throw new Error(`the shell did not tell times of its children: ${errors}`)
  return times.reduce((sum, [, minutes, seconds]) => sum + 60 * Number(minutes) + Number(seconds), 0)
}
