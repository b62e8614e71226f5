/** `make start`: the pipeline on this machine, a capture a second, until Ctrl-C. `--data FOLDER` keeps everything there instead of in `data`. */
import { parseArgs } from 'node:util'
import { LiveTerminal } from './live-terminal.ts'
import { httpAddress, OneMachine, type OneMachineError } from './one-machine.ts'
import { drawScene, type Scene, sceneInALine } from './picture.ts'
import { runCommand } from './run-command.ts'

/** Between two looks at the services, in ms. */
const LOOK_EVERY = 500
/** Between two lines where there is no terminal to draw in, in ms. */
const LINE_EVERY = 5000

const { data } = parseArgs({ options: { data: { type: 'string', default: 'data' } } }).values
const terminal = new LiveTerminal()

await runCommand(
  async (signal, own) => {
    const failed = Promise.withResolvers<number>()
    const startedAt = performance.now()
    const machine = new OneMachine({
      command: 'make start',
      data,
      say: (line) => terminal.say(line),
      onHopeless: (error: OneMachineError) => failed.reject(error),
      signal,
    })
    own(machine)
    terminal.say('Starting Kafka, a PokeAPI and both services on this machine. Ctrl-C stops them.')
    await machine.prepare()
    const consumer = await machine.startConsumer()
    const producer = await machine.startProducer({ CAPTURE_INTERVAL: '1s' }, { CAPTURE_MODE: 'random' })
    const readings = machine.readings(producer, consumer)

    let told = { at: Number.NEGATIVE_INFINITY, line: '' }
    const look = async () => {
      while (!signal.aborted) {
        const reading = await readings.take()
        if (signal.aborted) return 0
        const page = consumer.port === null ? null : httpAddress(consumer.port)
        if (page !== null) machine.tell({ page })
        const places: Scene['places'] = [
          ['PokeAPI', machine.api.what],
          ['Kafka', machine.brokers],
          ['Counts', `${machine.outputFile}; logs in ${machine.logs}`],
          ['Stop', 'Ctrl-C; everything is kept for the next start'],
          ['Page', page ?? 'the consumer is starting'],
        ]
        const scene = { reading, running: (performance.now() - startedAt) / 1000, places }
        terminal.draw(drawScene(scene, terminal.look))
        const line = sceneInALine(scene)
        if (!terminal.live && line !== told.line && performance.now() - told.at >= LINE_EVERY) {
          terminal.say(line)
          told = { at: performance.now(), line }
        }
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY))
      }
      return 0
    }
    return Promise.race([look(), failed.promise])
  },
  (why) => {
    terminal.leave()
    terminal.say(`\n${why}: stopping the producer, the consumer and Kafka; once more ends all at once`)
  },
)
