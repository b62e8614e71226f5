/** Reads metrics in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/). */

export interface Sample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Samples by metric name. Comments, timestamps, NaN and lines that are not samples are skipped. */
export function parseMetrics(text: string): Map<string, Sample[]> {
  const metrics = new Map<string, Sample[]>()
  for (const line of text.split('\n')) {
    const parts = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line)
    if (parts === null) continue
    const [, name, labels = '', value] = parts as unknown as [string, string, string | undefined, string]
    const sample = { labels: parseLabels(labels), value: toNumber(value) }
    if (Number.isNaN(sample.value)) continue
    const samples = metrics.get(name)
    if (samples === undefined) metrics.set(name, [sample])
    else samples.push(sample)
  }
  return metrics
}

/** The sum over all labels; null where the metric is missing. */
export function sumOf(metrics: ReadonlyMap<string, readonly Sample[]>, name: string): number | null {
  return metrics.get(name)?.reduce((sum, { value }) => sum + value, 0) ?? null
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  for (const [, name, value] of text.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
    labels[name!] = value!.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
  }
  return labels
}

function toNumber(text: string): number {
  return text === '+Inf' ? Number.POSITIVE_INFINITY : text === '-Inf' ? Number.NEGATIVE_INFINITY : Number(text)
}
