/**
 * `make test`: Node's own test runner over every workspace, with coverage, and a summary at the end.
 * `node dev/run-tests.ts [FILES…]` runs only those files. Each test starts the servers that it needs.
 */
import { availableParallelism } from 'node:os'
import { relative } from 'node:path'
import { run } from 'node:test'
import { spec, type TestEvent } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import { ensureKafka } from './kafka.ts'

const PROJECT = fileURLToPath(new URL('..', import.meta.url))
const EVERYTHING = [
  'packages/*/test/**/*.test.ts',
  'poke-api-*/test/**/*.test.ts',
  'dev/test/**/*.test.ts',
  'benchmarks/**/*.test.ts',
  'system-tests/test/**/*.test.ts',
  'system-tests/faults/**/*.test.ts',
]
/** Test files at once: at least two, because tests mostly wait; at most four, because brokers need memory. */
const CONCURRENCY = Math.min(Math.max(availableParallelism(), 2), 4)
/** A test or suite that takes longer than so many ms has failed. */
const LONGEST_TEST = 10 * 60 * 1000
/** A test that has timed out may keep its process running; after so many ms every process is ended, and the run has failed. */
const LONGEST_RUN = 40 * 60 * 1000

process.chdir(PROJECT)
// Once, before two tests need it at the same time. If this fails, the tests that need Kafka fail with the same message.
await ensureKafka().catch((error: Error) => console.error(error.message))

const files = process.argv.slice(2)
const tests = run({
  ...(files.length > 0 ? { files } : { globPatterns: EVERYTHING }),
  concurrency: CONCURRENCY,
  timeout: LONGEST_TEST,
  signal: AbortSignal.timeout(LONGEST_RUN),
  coverage: true,
  coverageExcludeGlobs: ['**/test/**', 'system-tests/**'],
})
const coverage: string[] = []
const skipped: string[] = []
tests.on('test:summary', ({ file, counts, duration_ms, success }) => {
  if (file !== undefined) console.log(summaryOfFile(relative(PROJECT, file), counts, duration_ms, success))
  else if (!success) process.exitCode = 1
})
tests.on('test:fail', ({ todo }) => {
  if (todo === undefined) process.exitCode = 1
})
tests.on('test:pass', ({ name, skip }) => {
  if (typeof skip === 'string') skipped.push(`ℹ skipped: ${name} (${skip})`)
})
tests.on('test:coverage', ({ summary }) => coverage.push(...coverageOfWorkspaces(summary.files)))

// Failures are printed in full, and Node's own figures at the end; passed tests only as one line for each file.
for await (const text of tests.compose(onlyFailuresAndFigures).compose(new spec())) process.stdout.write(text)
for (const line of skipped) console.log(line)
for (const line of coverage) console.log(line)

async function* onlyFailuresAndFigures(events: AsyncIterable<TestEvent>): AsyncGenerator<TestEvent> {
  for await (const event of events) {
    if (event.type === 'test:fail' || event.type === 'test:stderr') yield event
    if (event.type === 'test:diagnostic' && event.data.file === undefined) yield event
  }
}

interface Counts {
  readonly tests: number
  readonly passed: number
  readonly skipped: number
  readonly todo: number
}

function summaryOfFile(file: string, { tests, passed, skipped, todo }: Counts, ms: number, success: boolean): string {
  const failed = tests - passed - skipped - todo
  const parts = [`${passed} passed`]
  if (failed > 0) parts.push(`${failed} failed`)
  if (skipped > 0) parts.push(`${skipped} skipped`)
  return `${success ? '✔' : '✖'} ${file}  ${parts.join(', ')} (${(ms / 1000).toFixed(1)} s)`
}

interface CoveredFile {
  readonly path: string
  readonly totalLineCount: number
  readonly coveredLineCount: number
}

/** Share of lines that tests have run, in their own process and in processes that they start. */
function coverageOfWorkspaces(covered: readonly CoveredFile[]): string[] {
  const totals = new Map<string, { lines: number; reached: number }>()
  for (const { path, totalLineCount, coveredLineCount } of covered) {
    const workspace = /^(packages\/[^/]+|[^/]+)\//.exec(relative(PROJECT, path))?.[1]
    if (workspace === undefined || workspace === '..') continue
    const total = totals.get(workspace) ?? { lines: 0, reached: 0 }
    totals.set(workspace, { lines: total.lines + totalLineCount, reached: total.reached + coveredLineCount })
  }
  const rows = [...totals].sort(([a], [b]) => (a < b ? -1 : 1))
  return rows.map(([workspace, { lines, reached }]) => `ℹ coverage of lines, ${workspace}: ${((100 * reached) / lines).toFixed(1)} %`)
}
