/** Runs a program to its end and measures its wall-clock and processor time, including its start. */
import { spawn } from 'node:child_process'

export interface MeasuredRun {
  readonly output: string
  readonly seconds: number
  /** User and system time of the whole process, in seconds. */
  readonly cpuSeconds: number
}

/** The shell's `times` reports the processor time of its children, which Node cannot. */
const SCRIPT = '"$@"; code=$?; times >&2; exit $code'

/** @throws if it cannot be started or fails, with its output */
export async function runMeasured(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<MeasuredRun> {
  const began = performance.now()
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'measured', program, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk
  })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const seconds = (performance.now() - began) / 1000
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} failed (exit code ${code}):\n${errors}${output}`)
  return { output, seconds, cpuSeconds: childrenSeconds(errors) }
}

/** `times` writes two lines, user and system time in each (0m1.234s): the shell's own, then its children's (POSIX, "times"). */
function childrenSeconds(errors: string): number {
  const times = [...errors.matchAll(/(\d+)m([\d.]+)s/g)].slice(-2)
  if (times.length < 2) throw new Error(`the shell did not tell times of its children: ${errors}`)
  return times.reduce((sum, [, minutes, seconds]) => sum + 60 * Number(minutes) + Number(seconds), 0)
}
