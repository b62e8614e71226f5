/** Runs Java programs with Kafka's own jars: its tools, and small programs that use its client. */
import { join } from 'node:path'
import type { Kafka } from '@poke-api-pipeline/dev'
import { type MeasuredRun, runMeasured } from './measured-process.ts'

/**
 * Runs a program to its end.
 * @param args a class or a single source file, then its arguments
 * @throws if it fails, with its output
 */
export async function java(kafka: Pick<Kafka, 'jars'>, args: readonly string[]): Promise<MeasuredRun> {
  if (kafka.jars === '')
    throw new Error('Measurements need a JDK (17 or newer) and Maven: a Kafka in a container brings no reference client along.')
  const home = process.env.JAVA_HOME
  const program = home ? join(home, 'bin', 'java') : 'java'
  const options = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-Xmx2g', '-cp', kafka.jars]
  return await runMeasured(program, [...options, ...args])
}
