/**
 * `make sweep`: captures every Pokémon once, and checks that each capture was counted once. A sweep that was killed goes on.
 * `--data FOLDER` keeps everything there instead of in `data`. Exit code 0: every Pokémon was captured, and what was captured was counted;
 * 1: it was not, nobody can say, or Pokémon are missing.
 *
 * `make demo-kill` is `--kills 5`: both services are killed so often meanwhile, and at the end the consumer's `verify` has the last word.
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
import { CONSUMER, OneMachine, OneMachineError } from './one-machine.ts'
import { positionsOf, readCounts } from './readings.ts'
import { runCommand } from './run-command.ts'
import type { Service } from './service.ts'
import { type Counts, differences, renderDifferences, rise, sum } from './sweep-check.ts'
import { SweepProgress } from './sweep-progress.ts'
import { count } from './terminal-look.ts'
import { TopicReader } from './topic-reader.ts'

/** Between two looks at the services, in ms. */
const LOOK_EVERY = 200
/** At rest the file is at most a second older than the store; after so long, in ms, it is wrong. */
const FILE_WITHIN = 10_000
/** Captures a second that leave time to watch each kill, and what comes after it. */
const WATCHABLE_RATE = '30'

/** What the producer says at the end: of all that it captured in this sweep, over all its processes. */
interface Swept {
  readonly captured: number
  readonly types: Counts
  /** Pokémon that could not be had: how many, and a line for each of the first. */
  readonly leftOut: { readonly count: number; readonly lines: readonly string[] }
}

/** Where a sweep began, kept until it is finished: a killed one is compared with that. */
interface Beginning {
  /** Null where the sweep makes the topic. */
  readonly topicId: string | null
  /** Ends of the partitions. */
  readonly from: readonly number[]
  readonly counts: Readonly<Record<string, number>>
}

const { data, kills: killsText } = commandOptions(
  `Captures every Pokémon once, and checks that each was counted once.

Usage: make sweep
       npm run sweep [-- --data FOLDER] [--kills N]

  --data FOLDER  Keeps everything there instead of in data.
  --kills N      Kills both services so often meanwhile, as make demo-kill does.

Settings are environment variables, or lines of a file .env: see .env.example and docs/settings.md.
`,
  { data: 'data', kills: '0' },
)
const kills = Number(killsText)
const COMMAND = kills > 0 ? 'make demo-kill' : 'make sweep'
const terminal = new LiveTerminal()

await runCommand({
  terminal,
  whenStopped: `stopping; once more ends all at once. The next ${COMMAND} goes on from here.`,
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
  // What an earlier run has asked for is asked for again: from the cache all would be over before anybody is killed.
  if (kills > 0)
    for (const end of ['', '-wal', '-shm']) rmSync(join(machine.folder, 'producer', `poke-api-cache.db${end}`), { force: true })
  const consumer = machine.startConsumer()
  const topic = openTopic(machine)
  try {
    const beginning = await begin(machine, topic, consumer)

    // Our own server needs no mercy; the live one sets the pace.
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
    if (end === null) throw new OneMachineError('The topic is gone: somebody deleted it during the sweep.')
    await progress.during(counted(consumer, end.ends), true)
    const inTopic = await topic.stretch(beginning.from, end)
    const { counts: after, pokemon } = await storedCounts(machine)
    terminal.leave()

    terminal.say(`\n${renderCounts(after, pokemon, terminal.look)}\n`)
    // Captures of make start, between the parts of a sweep that was killed, are in the topic too.
    const lost = differences(types, inTopic.types).filter((row) => row.counted < row.captured)
    const wrong = differences(inTopic.types, rise(new Map(Object.entries(beginning.counts)), after))
    const fileIsCurrent = await fileBecomes(machine.outputFile, after)
    rmSync(beginningFile(machine), { force: true })
    if (lost.length > 0) {
      terminal.say(`Not all that was captured is in the topic:\n${renderDifferences(lost, 'in topic')}`)
    }
    if (wrong.length > 0) {
      terminal.say(`The counts did not rise by what is in the topic:\n${renderDifferences(wrong, 'counted')}`)
    }
    if (!fileIsCurrent)
      terminal.say(`${machine.outputFile} does not say what was counted: the log of the consumer tells why (${machine.logs}).`)
    if (lost.length + wrong.length > 0 || !fileIsCurrent) return 1
    const others = inTopic.events - captured
    for (const [name, times] of killed) if (kills > 0) terminal.say(`The ${name} was killed ${times === 1 ? 'once' : `${times} times`}.`)
    if ([...killed.values()].some((times) => times < kills)) {
      terminal.say(`The sweep was over before each was killed as often as was asked for (${kills}): try it again.`)
      return 1
    }
    terminal.say(
      `Each counted once: the counts rose by exactly the ${count(sum(types))} types of the ${count(captured)} Pokémon captured.\n` +
        `${others > 0 ? `(And by those of ${count(others)} more, captured by others meanwhile.)\n` : ''}They are in ${machine.outputFile}.`,
    )
    if (leftOut.count === 0) return 0
    terminal.say(missing(leftOut))
    return 1
  } finally {
    await topic.close()
  }
}

/** Counts the topic anew with the consumer's own command. @returns its exit code */
async function verify(machine: OneMachine): Promise<number> {
  const child = spawn(process.execPath, [CONSUMER, 'verify'], { env: machine.consumerEnv(), stdio: 'inherit' })
  const [exitCode] = await once(child, 'exit')
  return exitCode ?? 1
}

/** For people: the Pokémon that the sweep had to do without. */
function missing({ count: howMany, lines }: Swept['leftOut']): string {
  const more = howMany - lines.length
  return [
    `${howMany === 1 ? 'One Pokémon is' : `${count(howMany)} Pokémon are`} missing from the counts, because PokeAPI did not give ${howMany === 1 ? 'it' : 'them'} (${COMMAND} again asks again):`,
    ...lines.map((line) => `  ${line}`),
    ...(more > 0 ? [`  and ${count(more)} more: the log of the producer has them all`] : []),
  ].join('\n')
}

/** The topic as the services' own settings name it. */
function openTopic(machine: OneMachine): TopicReader {
  const { values } = readSettings(KAFKA_SETTINGS, { ...process.env, KAFKA_BROKERS: machine.brokers })
  return new TopicReader(values.KAFKA_BROKERS, values.KAFKA_TOPIC, kafkaSecurity(values))
}

/** Finds or notes where the sweep begins: everything before it is counted then. */
async function begin(machine: OneMachine, topic: TopicReader, consumer: Service): Promise<Beginning> {
  const now = await topic.ends()
  const file = beginningFile(machine)
  if (existsSync(file)) {
    const begun = JSON.parse(readFileSync(file, 'utf8')) as Beginning
    if (begun.topicId === null || begun.topicId === now?.topicId) {
      terminal.say('Sweep     goes on where it was stopped')
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

/** Waits until the consumer has counted everything before these ends of partitions. @throws where it has stopped to read one of them */
async function counted(consumer: Service, ends: readonly number[]): Promise<void> {
  for (;;) {
    const positions = await positionsOf(consumer)
    const stopped = [...positions].find(([, position]) => position === null)
    if (stopped !== undefined) {
      throw new OneMachineError(
        `Partition ${stopped[0]} is not counted any more, because records of it are gone: the log of the consumer says which.`,
      )
    }
    if (ends.every((end, partition) => end === 0 || (positions.get(partition) ?? -1) >= end)) return
    await pause(LOOK_EVERY)
  }
}

/** What the store says: the truth that the file shows a moment later. */
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

/** Waits until the file says what the store says; false where it does not come to that. */
async function fileBecomes(file: string, counts: Counts): Promise<boolean> {
  const deadline = performance.now() + FILE_WITHIN
  for (;;) {
    const written = await readCounts(file)
    if (written !== null && differences(counts, written).length === 0) return true
    if (performance.now() > deadline) return false
    await pause(LOOK_EVERY)
  }
}
