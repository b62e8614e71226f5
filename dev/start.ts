/** `make start`: the pipeline on this machine, a capture a second, until Ctrl-C. `--data FOLDER` keeps everything there instead of in `data`. */
import { setTimeout as pause } from 'node:timers/promises'
import { commandOptions } from './command-options.ts'
import { LiveTerminal } from './live-terminal.ts'
import { OneMachine } from './one-machine.ts'
import { drawScene, type Scene, sceneInALine } from './picture.ts'
import type { Readings } from './readings.ts'
import { type Run, runCommand } from './run-command.ts'
import type { Service } from './service.ts'

/** Between two looks at the services, in ms. */
const LOOK_EVERY = 500
/** Between two lines where there is no terminal to draw in, in ms. */
const LINE_EVERY = 5000

const { data } = commandOptions(
  `Runs Kafka, a PokeAPI and both services on this machine, a capture a second, until Ctrl-C.

Usage: make start
       npm start [-- --data FOLDER]

  --data FOLDER  Keeps everything there instead of in data.

Settings are environment variables, or lines of a file .env: see .env.example and docs/settings.md.
`,
  { data: 'data' },
)
const terminal = new LiveTerminal()

await runCommand({
  terminal,
  whenStopped: 'stopping the producer, the consumer and Kafka; once more ends all at once',
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

/** Draws what happens, in a terminal; elsewhere says it now and then. */
async function show(machine: OneMachine, consumer: Service, readings: Readings, { signal }: Run): Promise<void> {
  let told: Told = { at: Number.NEGATIVE_INFINITY, line: '' }
  while (!signal.aborted) {
    const reading = await readings.take()
    if (signal.aborted) return
    if (reading.counts.size > 0) machine.quickenNextStart()
    if (consumer.url !== null) machine.tell({ page: consumer.url })
    const places: Scene['places'] = [
      ['Counts', `${machine.outputFile}; logs in ${machine.logs}`],
      ['Stop', 'Ctrl-C; everything is kept for the next start'],
      ['Page', consumer.url ?? 'the consumer is starting'],
    ]
    const scene: Scene = { reading, places }
    terminal.draw(drawScene(scene, terminal.look))
    if (!terminal.live && consumer.url !== null) told = say(scene, told)
    await pause(LOOK_EVERY)
  }
}

/** The last line, and when it was said. */
interface Told {
  readonly at: number
  readonly line: string
}

/** Where there is no terminal to draw in: where things are, once, and what is new, now and then. */
function say(scene: Scene, told: Told): Told {
  const line = sceneInALine(scene)
  if (line === told.line || performance.now() - told.at < LINE_EVERY) return told
  if (told.line === '') for (const [what, where] of scene.places) terminal.say(`${what.padEnd(9)} ${where}`)
  terminal.say(line)
  return { at: performance.now(), line }
}
