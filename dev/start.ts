/** `make start`: the pipeline on this machine, one capture a second, until Ctrl-C. `--data FOLDER` is the folder for all data instead of `data`. */
import { setTimeout as pause } from 'node:timers/promises'
import { commandOptions } from './command-options.ts'
import { LiveTerminal } from './live-terminal.ts'
import { OneMachine } from './one-machine.ts'
import { drawScene, type Scene, sceneInALine } from './picture.ts'
import type { Readings } from './readings.ts'
import { type Run, runCommand } from './run-command.ts'
import type { Service } from './service.ts'

/** In ms. */
const POLL_INTERVAL = 500
/** Time between two lines where there is no terminal to draw in, in ms. */
const LINE_INTERVAL = 5000

const { data } = commandOptions(
  `Runs Kafka, a PokeAPI and both services on this machine, one capture a second, until Ctrl-C.

Usage: make start
       npm start [-- --data FOLDER]

  --data FOLDER  The folder for all data, instead of data.

Settings are environment variables, or lines of a file .env: see .env.example and docs/settings.md.
`,
  { data: 'data' },
)
const terminal = new LiveTerminal()

await runCommand({
  terminal,
  whenStopped: 'stopping the producer, the consumer and Kafka. Once more kills them at once.',
  stoppedExitCode: 0,
  async work(run) {
    const machine = new OneMachine({ command: 'make start', data, say: (line) => terminal.say(line), run })
    terminal.say('Starting Kafka, a PokeAPI and both services on this machine. Ctrl-C stops them.')
    await machine.prepare()
    const consumer = machine.startConsumer()
    const producer = machine.startProducer({ CAPTURE_INTERVAL: '1s' }, { CAPTURE_MODE: 'random' })
    await show(machine, consumer, machine.readings(producer, consumer), run)
    return 0
  },
})

/** Draws the figures in a terminal; elsewhere prints them as lines. */
async function show(machine: OneMachine, consumer: Service, readings: Readings, { signal }: Run): Promise<void> {
  let printed: Printed = { at: Number.NEGATIVE_INFINITY, line: '' }
  while (!signal.aborted) {
    const reading = await readings.read()
    if (signal.aborted) return
    if (reading.counts.size > 0) machine.buildClassArchive()
    if (consumer.url !== null) machine.tell({ page: consumer.url })
    const places: Scene['places'] = [
      ['Counts', `${machine.outputFile}; logs in ${machine.logs}`],
      ['Stop', 'Ctrl-C; the next start continues from here'],
      ['Page', consumer.url ?? 'the consumer is starting'],
    ]
    const scene: Scene = { reading, places }
    terminal.draw(drawScene(scene, terminal.look))
    if (!terminal.live && consumer.url !== null) printed = print(scene, printed)
    await pause(POLL_INTERVAL)
  }
}

/** The last line, and when it was printed. */
interface Printed {
  readonly at: number
  readonly line: string
}

/** Prints the addresses and files once, and a line of figures whenever they have changed. */
function print(scene: Scene, last: Printed): Printed {
  const line = sceneInALine(scene)
  if (line === last.line || performance.now() - last.at < LINE_INTERVAL) return last
  if (last.line === '') for (const [what, where] of scene.places) terminal.say(`${what.padEnd(9)} ${where}`)
  terminal.say(line)
  return { at: performance.now(), line }
}
