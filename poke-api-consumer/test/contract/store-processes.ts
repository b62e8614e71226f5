/** What every store must do with several processes: real ones, some of which are killed with SIGKILL during commits. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { PartitionSnapshot } from '../../src/application/ports.ts'
import { type CreateStore, partitionOf } from './store-harness.ts'

const PROGRAM = fileURLToPath(new URL('counting-process.ts', import.meta.url))

/** A process that counts into the store (`counting-process.ts`). `printed` has how often it printed each line. */
class CountingProcess {
  readonly printed = new Map<string, number>()
  readonly #process: ChildProcess
  /** Resolves when it has ended and all that it printed was read. */
  readonly #ended: Promise<unknown>
  #onLine = () => {}
  #errors = ''

  constructor(t: TestContext, url: string, partitions: number) {
    this.#process = spawn(process.execPath, [PROGRAM, url, String(partitions)], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#ended = once(this.#process, 'close')
    this.#process.stderr?.on('data', (chunk) => {
      this.#errors += chunk
    })
    createInterface({ input: this.#process.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.printed.set(line, (this.printed.get(line) ?? 0) + 1)
      this.#onLine()
    })
    t.after(() => this.kill())
  }

  /** Waits until it has printed a line that often. */
  async prints(line: string, times: number): Promise<void> {
    const ended = this.#ended.then(() => assert.fail(`the process ended by itself: ${this.#errors}`))
    const reached = new Promise<void>((resolve) => {
      this.#onLine = () => {
        if ((this.printed.get(line) ?? 0) >= times) resolve()
      }
      this.#onLine()
    })
    await Promise.race([reached, ended])
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#ended
  }
}

/** Counts, duplicates, dead letters and position of a partition are from the same commit, whichever process was killed. */
function assertWhole(snapshot: PartitionSnapshot): void {
  const offset = Number(snapshot.position.offset)
  const commits = offset / 10
  assert.ok(Number.isInteger(commits), `position ${offset}`)
  assert.deepEqual([snapshot.counted, snapshot.duplicates, snapshot.deadLetters], [commits * 8, commits, commits])
  assert.equal(snapshot.counts.get('bug'), commits * 8)
  assert.equal(
    [...snapshot.counts.values()].reduce((sum, count) => sum + count),
    commits * 9,
  )
  assert.deepEqual(
    [...snapshot.deadLetterList].map(({ offset }) => offset),
    Array.from({ length: commits }, (_, i) => i * 10 + 9),
  )
}

export function testStoreProcesses(name: string, create: CreateStore): void {
  describe(`${name}: several processes`, () => {
    test('a process that is killed during commits leaves only complete ones, and the next process continues', async (t) => {
      const { url, open } = await create(t)
      const store = await open()
      let answered = 0
      for (let life = 1; life <= 5; life++) {
        const counting = new CountingProcess(t, url, 2)
        await counting.prints('began', 2)
        await counting.prints('committed', 5 * life + (life % 3))
        await counting.kill()
        answered += counting.printed.get('committed') ?? 0
        const snapshots = await store.snapshot()
        assert.equal(snapshots.length, 2)
        for (const snapshot of snapshots) assertWhole(snapshot)
        const commits = snapshots.reduce((sum, { duplicates }) => sum + duplicates, 0)
        assert.ok(commits >= answered, `${answered} commits were answered, the store has ${commits}`)
        const { lastSequences, position } = await store.open(partitionOf(0))
        assert.equal(lastSequences.get('/counting-process'), position.offset)
      }
    })

    test('several processes that start at once on an empty store and take over each other’s partitions count exactly', async (t) => {
      const { url, open } = await create(t)
      const processes = Array.from({ length: 4 }, () => new CountingProcess(t, url, 2))
      await Promise.all(processes.map((counting) => counting.prints('began', 2)))
      await Promise.all(processes.map((counting) => counting.prints('committed', 15)))
      await Promise.all(processes.map((counting) => counting.kill()))
      const answered = processes.reduce((sum, { printed }) => sum + (printed.get('committed') ?? 0), 0)
      const fenced = processes.reduce((sum, { printed }) => sum + (printed.get('fenced') ?? 0), 0)
      const snapshots = await (await open()).snapshot()
      for (const snapshot of snapshots) assertWhole(snapshot)
      const commits = snapshots.reduce((sum, { duplicates }) => sum + duplicates, 0)
      assert.ok(commits >= answered && commits <= answered + 2 * processes.length, `answered ${answered}, in the store ${commits}`)
      assert.ok(fenced > 0, 'no process took over a partition of another one, so nothing was tested')
    })

    test('twenty instances that create the store at the same time share one store', async (t) => {
      const { open } = await create(t)
      const stores = await Promise.all(Array.from({ length: 20 }, () => open()))
      assert.equal(new Set(stores.map(({ id }) => id)).size, 1)
      assert.match(stores[0]?.id ?? '', /^[0-9a-f-]{32,36}$/)
      await Promise.all(stores.map((store, i) => store.open(partitionOf(i % 3))))
      const tokens = await Promise.all(stores.map(async (store) => (await store.open(partitionOf(0))).token))
      assert.equal(new Set(tokens).size, tokens.length, 'two owners at the same time')
    })
  })
}
