/** Draws the results: the speed of each case, as a multiple of the reference client that reads and discards the records. */
import { readFile } from 'node:fs/promises'

export interface Peer {
  readonly name: string
  /** A multiple of the speed of the reference client on the same topic. */
  readonly ratio: number
}

const WIDTH = 760
const LABELS = 330
const ROW = 30
const BAR = 18
const TOP = 74
/** Space for a figure after the longest bar. */
const BEHIND = 50

/** Without a background, so that it fits a light and a dark page. */
const STYLE = `
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.note { fill: #59636e }
.ours { fill: #2a75bb }
.peer { fill: #9aa4af }
.limit { stroke: #59636e; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note { fill: #9198a1 }
  .ours { fill: #ffcb05 }
  .peer { fill: #656c76 }
  .limit { stroke: #9198a1 }
}`

/** @param ratios of our consumer, by case */
export async function drawPicture(ratios: ReadonlyMap<string, number>): Promise<string> {
  const { peers } = JSON.parse(await readFile(new URL('peers.json', import.meta.url), 'utf8')) as { peers: readonly Peer[] }
  const bars = [
    ...[...ratios].map(([name, ratio]) => ({ name: `poke-api-consumer: ${name}`, ratio, look: 'ours' })),
    { name: 'reference client, reading only', ratio: 1, look: 'peer' },
    ...peers.map(({ name, ratio }) => ({ name, ratio, look: 'peer' })),
  ].sort((a, b) => b.ratio - a.ratio)
  const longest = Math.max(...bars.map(({ ratio }) => ratio))
  const scale = (WIDTH - LABELS - BEHIND) / longest
  const height = TOP + bars.length * ROW + 10
  const limit = (LABELS + scale).toFixed(1)
  const rows = bars.map(({ name, ratio, look }, index) => {
    const y = TOP + index * ROW
    const end = ratio * scale
    return [
      `<text x="${LABELS - 10}" y="${y + 14}" text-anchor="end">${escapeXml(name)}</text>`,
      `<rect class="${look}" x="${LABELS}" y="${y}" width="${end.toFixed(1)}" height="${BAR}" rx="2"/>`,
      `<text x="${(LABELS + end + 6).toFixed(1)}" y="${y + 14}">${ratio.toFixed(2)}</text>`,
    ].join('\n')
  })
  const summary = bars.map(({ name, ratio }) => `${name}: ${ratio.toFixed(2)}`).join('; ')
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title summary">
<title id="title">Speed of exact counting, as a multiple of the reference client’s reading</title>
<desc id="summary">${escapeXml(summary)}</desc>
<style>${STYLE}
</style>
<text class="title" x="10" y="26">Records a second, counted exactly and committed</text>
<text class="note" x="10" y="48">As a multiple of what Kafka’s own Java client reads from the same topic, broker and machine, decoding nothing</text>
<line class="limit" x1="${limit}" y1="${TOP - 8}" x2="${limit}" y2="${height - 8}"/>
${rows.join('\n')}
</svg>
`
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
