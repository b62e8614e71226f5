/** A program of the machine that listens on a port of this machine: started for a test, and stopped with its folder. */
import { type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface ListeningProgram {
  readonly command: string
  readonly args: readonly string[]
  readonly options: SpawnOptions
  /** Where it listens once it has started. */
  readonly port: number
  /** Of its files; removed when it has ended. */
  readonly folder: string
}

/**
 * Resolves when the program takes connections.
 * @returns stops it, by these signals one after the other
 * @throws with what it printed if it ends before it listens
 */
export async function startListening({
  command,
  args,
  options,
  port,
  folder,
}: ListeningProgram): Promise<(...signals: NodeJS.Signals[]) => Promise<void>> {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const ended = once(child, 'exit')
  const remove = () => rmSync(folder, { recursive: true, force: true })
  while (!(await accepts(port))) {
    if (child.exitCode !== null) {
      remove()
      throw new Error(`${command} did not start:\n${log}`)
    }
    await sleep(10)
  }
  return async (...signals) => {
    for (const signal of signals) child.kill(signal)
    await ended
    remove()
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
