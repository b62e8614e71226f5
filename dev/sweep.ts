/**
 * `make sweep`: captures every Pokémon once, and checks that each capture was counted once. A sweep that was killed continues.
 * `--data FOLDER` is the folder for all data instead of `data`. Exit code 0: every Pokémon was captured and counted; 1: some were not, or the
 * command was stopped.
 *
 * `make demo-kill` is `--kills 5`: both services are killed so often meanwhile, and at the end the consumer's `verify` counts the topic again.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { KAFKA_SETTINGS, kafkaSecurity } from '@poke-api-pipeline/kafka-common'
import { readConfig } from '@poke-api-pipeline/poke-api-consumer/config'
import { renderCounts } from '@poke-api-pipeline/poke-api-consumer/counts-table'
import { openStore } from '@poke-api-pipeline/poke-api-consumer/open-store'
import { readSecret, readSettings } from '@poke-api-pipeline/service-kit'
import { commandOptions } from './command-options.ts'
import { killAgainAndAgain } from './killing.ts'
import { LiveTerminal } from './live-terminal.ts'
import { CONSUMER, OneMachine } from './one-machine.ts'
import { positionsOf, readCounts } from './readings.ts'
import { CommandError, runCommand } from './run-command.ts'
import type { Service } from './service.ts'
import { type Counts, differences, renderDifferences, rise, sum } from './sweep-check.ts'
import { SweepProgress } from './sweep-progress.ts'
import { count } from './terminal-look.ts'
import { TopicReader } from './topic-reader.ts'

/** In ms. */
const POLL_INTERVAL = 200
/** When nothing is counted any more, the file shows the store's counts within a second; after so many ms it is wrong. */
const FILE_WITHIN = 10_000
/** Captures a second: slow enough to watch each kill, and the recovery after it. */
const WATCHABLE_RATE = '30'

/** What the producer reports at the end: the captures of this sweep, by all of its processes. */
interface Swept {
  readonly captured: number
  readonly types: Counts
  /** Pokémon that could not be obtained: how many, and a line for each of the first. */
  readonly leftOut: { readonly count: number; readonly lines: readonly string[] }
}

/** Where a sweep began, stored until it is finished, because a killed sweep is checked from its beginning. */
interface Beginning {
  /** Null where the sweep creates the topic. */
  readonly topicId: string | null
  /** End offsets by partition. */
  readonly from: readonly number[]
  readonly counts: Readonly<Record<string, number>>
}

const { data, kills: killsText } = commandOptions(
  `Captures every Pokémon once, and checks that each was counted once.

Usage: make sweep
       npm run sweep [-- --data FOLDER] [--kills N]

  --data FOLDER  The folder for all data, instead of data.
  --kills N      Kills both services N times each meanwhile, as make demo-kill does.

Settings are environment variables, or lines of a file .env: see .env.example and docs/settings.md.
`,
  { data: 'data', kills: '0' },
)
const kills = Number(killsText)
const COMMAND = kills > 0 ? 'make demo-kill' : 'make sweep'
const terminal = new LiveTerminal()

await runCommand({
  terminal,
  whenStopped: `stopping. Once more kills everything at once. The next ${COMMAND} continues from here.`,
  stoppedExitCode: 1,
  async work(run) {
    const swept = Promise.withResolvers<Swept>()
    const machine = new OneMachine({
      command: COMMAND,
      data,
      say: (line) => terminal.say(line),
      onEvent(event) {
        if (event.kind !== 'swept') return
        const { captured, types, leftOut } = event
        swept.resolve({ captured, types: new Map(Object.entries(types)), leftOut })
      },
      run,
    })
    const exitCode = await sweep(machine, swept.promise, run.signal)
    return kills > 0 && exitCode === 0 ? await verify(machine) : exitCode
  },
})

async function sweep(machine: OneMachine, swept: Promise<Swept>, signal: AbortSignal): Promise<number> {
  terminal.say('Starting Kafka, a PokeAPI and both services on this machine. Ctrl-C stops them.')
  await machine.prepare()
  // From the cache of an earlier run, the sweep would be over before a service is killed.
  if (kills > 0)
    for (const end of ['', '-wal', '-shm']) rmSync(join(machine.folder, 'producer', `poke-api-cache.db${end}`), { force: true })
  const consumer = machine.startConsumer()
  const topic = openTopic(machine)
  try {
    const beginning = await begin(machine, topic, consumer)

    // The local server needs no rate limit.
    const defaults = machine.api.kind === 'bundled' ? { POKE_API_MAX_RATE: kills > 0 ? WATCHABLE_RATE : '0' } : {}
    const producer = machine.startProducer(defaults, { CAPTURE_MODE: 'sweep' })
    const progress = new SweepProgress(machine.readings(producer, consumer), terminal)
    const over = new AbortController()
    const killing = killAgainAndAgain(
      {
        victims: [producer, consumer],
        kills,
        outputFile: machine.outputFile,
        say: (line) => terminal.say(line),
        kill: (pid) => process.kill(pid, 'SIGKILL'),
      },
      AbortSignal.any([signal, over.signal]),
    )
    const { captured, types, leftOut } = await progress.during(swept)
    over.abort()
    const killed = await killing

    const end = await topic.ends()
    if (end === null) throw new CommandError('The sweep cannot be checked, because the topic was deleted meanwhile. Run it again.')
    await progress.during(counted(consumer, end.ends), true)
    const inTopic = await topic.stretch(beginning.from, end)
    const { counts: after, pokemon } = await storedCounts(machine)
    terminal.leave()

    terminal.say(`\n${renderCounts(after, pokemon, terminal.look)}\n`)
    // The topic may have more: captures of make start between two parts of a killed sweep.
    const lost = differences(types, inTopic.types).filter((row) => row.counted < row.captured)
    const wrong = differences(inTopic.types, rise(new Map(Object.entries(beginning.counts)), after))
    const fileIsCurrent = await fileBecomes(machine.outputFile, after)
    rmSync(beginningFile(machine), { force: true })
    if (lost.length > 0) {
      terminal.say(`The topic has fewer types than were captured:\n${renderDifferences(lost, 'in topic')}`)
    }
    if (wrong.length > 0) {
      terminal.say(`The counts did not rise by the types in the topic:\n${renderDifferences(wrong, 'counted')}`)
    }
    if (!fileIsCurrent)
      terminal.say(`${machine.outputFile} does not have the counts of the store. The log of the consumer says why: ${machine.logs}`)
    if (lost.length + wrong.length > 0 || !fileIsCurrent) return 1
    const others = inTopic.events - captured
    for (const [name, times] of killed) if (kills > 0) terminal.say(`The ${name} was killed ${times === 1 ? 'once' : `${times} times`}.`)
    if ([...killed.values()].some((times) => times < kills)) {
      terminal.say(`The sweep was finished before each service was killed ${kills} times. Run it again.`)
      return 1
    }
    terminal.say(
      `Each counted once: the counts rose by exactly the ${count(sum(types))} types of the ${count(captured)} Pokémon captured.\n` +
        `${others > 0 ? `(And by the types of ${count(others)} more, which others captured meanwhile.)\n` : ''}They are in ${machine.outputFile}.`,
    )
    if (leftOut.count === 0) return 0
    terminal.say(missing(leftOut))
    return 1
  } finally {
    await topic.close()
  }
}

/** Counts the topic again with the consumer's command `verify`. @returns its exit code */
async function verify(machine: OneMachine): Promise<number> {
  const child = spawn(process.execPath, [CONSUMER, 'verify'], { env: machine.consumerEnv(), stdio: 'inherit' })
  const [exitCode] = await once(child, 'exit')
  return exitCode ?? 1
}

/** For people: the Pokémon that are missing. */
function missing({ count: howMany, lines }: Swept['leftOut']): string {
  const more = howMany - lines.length
  return [
    `${howMany === 1 ? 'One Pokémon is' : `${count(howMany)} Pokémon are`} missing from the counts, because PokeAPI did not return ${howMany === 1 ? 'it' : 'them'}. ${COMMAND} asks for ${howMany === 1 ? 'it' : 'them'} again:`,
    ...lines.map((line) => `  ${line}`),
    ...(more > 0 ? [`  and ${count(more)} more: the log of the producer has all of them`] : []),
  ].join('\n')
}

/** The topic that the services' settings name. */
function openTopic(machine: OneMachine): TopicReader {
  const { values } = readSettings(KAFKA_SETTINGS, { ...process.env, KAFKA_BROKERS: machine.brokers })
  return new TopicReader(values.KAFKA_BROKERS, values.KAFKA_TOPIC, kafkaSecurity(values))
}

/** Reads or stores where the sweep begins; everything before that is counted when this resolves. */
async function begin(machine: OneMachine, topic: TopicReader, consumer: Service): Promise<Beginning> {
  const now = await topic.ends()
  const file = beginningFile(machine)
  if (existsSync(file)) {
    const begun = JSON.parse(readFileSync(file, 'utf8')) as Beginning
    if (begun.topicId === null || begun.topicId === now?.topicId) {
      terminal.say('Sweep     continues where it was stopped')
      return begun
    }
  }
  if (now !== null) await counted(consumer, now.ends)
  const counts = Object.fromEntries((await storedCounts(machine)).counts)
  const beginning = { topicId: now?.topicId ?? null, from: now?.ends ?? [], counts }
  writeFileSync(file, JSON.stringify(beginning))
  return beginning
}

function beginningFile(machine: OneMachine): string {
  return join(machine.folder, 'sweep.json')
}

/** Waits until the consumer has counted everything before these end offsets. @throws CommandError where it has stopped reading a partition */
async function counted(consumer: Service, ends: readonly number[]): Promise<void> {
  for (;;) {
    const positions = await positionsOf(consumer)
    const stopped = [...positions].find(([, position]) => position === null)
    if (stopped !== undefined) {
      throw new CommandError(
        `Partition ${stopped[0]} is not counted any more, because records of it were deleted. The log of the consumer says which.`,
      )
    }
    if (ends.every((end, partition) => end === 0 || (positions.get(partition) ?? -1) >= end)) return
    await pause(POLL_INTERVAL)
  }
}

/** The counts of the store; the file shows them a moment later. */
async function storedCounts(machine: OneMachine): Promise<{ readonly counts: Counts; readonly pokemon: number }> {
  const { config } = readConfig(machine.consumerEnv())
  const password = config.STORE_PASSWORD_FILE === null ? null : readSecret(config.STORE_PASSWORD_FILE, 'STORE_PASSWORD_FILE')
  const store = await openStore(config.STORE_URL, { groupId: config.KAFKA_GROUP_ID, password })
  try {
    const { counts } = await store.totals()
    const partitions = await store.partitions()
    return { counts, pokemon: partitions.reduce((sum, { counted }) => sum + counted, 0) }
  } finally {
    await store.close()
  }
}

/** Waits until the file has the counts of the store; false where that takes too long. */
async function fileBecomes(file: string, counts: Counts): Promise<boolean> {
  const deadline = performance.now() + FILE_WITHIN
  for (;;) {
    const written = await readCounts(file)
    if (written !== null && differences(counts, written).length === 0) return true
    if (performance.now() > deadline) return false
    await pause(POLL_INTERVAL)
  }
}
