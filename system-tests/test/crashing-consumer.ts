/** The real consumer, which kills itself at a given crash point. Its only argument is a `Death` as JSON; its settings are in the environment. */

import { run } from '@poke-api-pipeline/poke-api-consumer/main'
import type { CrashPoint } from '@poke-api-pipeline/poke-api-consumer/testing/crash-points'

/** By SIGKILL, when it passes this crash point for the nth time. */
export interface Death {
  readonly at: CrashPoint
  readonly nth: number
}

const { at, nth } = JSON.parse(process.argv[2] ?? '') as Death
let passed = 0
process.exitCode = await run(process.env, (point) => {
  if (point === at && ++passed === nth) process.kill(process.pid, 'SIGKILL')
})
