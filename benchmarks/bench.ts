/**
 * `make bench`: measures throughput, reading, memory, latency, sweeps and start-up, appends the results to `benchmarks/RESULTS.md` and draws
 * `docs/performance.svg`. `--smoke` runs all of it in small, writes nothing and checks no times: it only shows that everything works.
 *
 * `node benchmarks/bench.ts [--smoke] [--runs 5] [--records 2000000] [--only throughput,latency] [--bodies FOLDER]
 *   [--reader NAME=PROGRAM]…`: programs that read with other clients; see `reading.ts`
 */
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startKafka } from '@poke-api-pipeline/dev'
import { describeEnvironment } from './environment.ts'
import { measureLatency } from './latency.ts'
import { measureMemory } from './memory.ts'
import { drawPicture } from './picture.ts'
import { measureReading } from './reading.ts'
import { type Bench, type Section, sectionAsMarkdown } from './report.ts'
import { measureStartUp } from './start-up.ts'
import { measureSweeps } from './sweep.ts'
import { measureThroughput } from './throughput.ts'

const RESULTS = new URL('RESULTS.md', import.meta.url)
const PICTURE = new URL('../docs/performance.svg', import.meta.url)

const { values } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    runs: { type: 'string' },
    records: { type: 'string' },
    only: { type: 'string' },
    bodies: { type: 'string' },
    reader: { type: 'string', multiple: true },
  },
})
const { smoke } = values
const wanted = values.only?.split(',')
const isWanted = (name: string) => wanted === undefined || wanted.includes(name)
const environment = await describeEnvironment()
const folder = await mkdtemp(join(tmpdir(), 'benchmark-'))
const say = (line: string) => console.error(line)
const kafka = await startKafka({
  dir: join(folder, 'kafka'),
  // Like a broker in production: with the second compiler, and enough memory.
  jvmOptions: smoke ? [] : ['-XX:TieredStopAtLevel=4', '-Xmx1g'],
  say,
})
try {
  const runs = Number(values.runs ?? (smoke ? 1 : 5))
  const bench: Bench = { kafka, folder, smoke, runs, records: Number(values.records ?? (smoke ? 20_000 : 2_000_000)), say }
  // Each section is written as soon as it is measured, so a later failure loses nothing.
  const tell = async (text: string) => {
    console.log(text)
    if (!smoke) await appendFile(RESULTS, `${text}\n`)
  }
  const report = (section: Section) => tell(sectionAsMarkdown(section))
  await tell(`\n## ${new Date().toISOString().slice(0, 10)}\n\n${environment.join('\n')}\n`)
  if (isWanted('throughput')) {
    const throughput = await measureThroughput(bench)
    for (const section of throughput.sections) await report(section)
    if (!smoke) await writeFile(PICTURE, await drawPicture(throughput.ratios))
  }
  if (isWanted('reading')) await report(await measureReading(bench, values.reader ?? []))
  if (isWanted('memory')) await report(await measureMemory(bench))
  if (isWanted('latency')) await report(await measureLatency(bench))
  if (isWanted('sweep')) await report(await measureSweeps(bench, values.bodies ?? null))
  if (isWanted('start-up')) await report(await measureStartUp(bench))
} finally {
  await kafka.stop()
  await rm(folder, { recursive: true, force: true })
}
