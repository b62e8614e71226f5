/** A registry of metrics for Prometheus. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client'

export { type Gauge, Registry } from '@prometheus-io/client'

/** A new registry with the Prometheus client's own metrics of process and Node (`process_…`, `nodejs_…`). */
export function createRegistry(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  return registry
}

/** @returns functions that make metrics in this registry: name, help, and the names of the labels */
export function metricsIn(registry: Registry) {
  const registers = [registry]
  return {
    counter: <Label extends string = never>(name: string, help: string, ...labelNames: Label[]) =>
      new Counter<Label>({ name, help, labelNames, registers }),
    gauge: <Label extends string = never>(name: string, help: string, ...labelNames: Label[]) =>
      new Gauge<Label>({ name, help, labelNames, registers }),
    /** A gauge whose values are computed at each scrape. */
    computed: <Label extends string = never>(name: string, help: string, collect: (gauge: Gauge<Label>) => void, ...labelNames: Label[]) =>
      new Gauge<Label>({
        name,
        help,
        labelNames,
        registers,
        collect() {
          collect(this)
        },
      }),
    histogram: (name: string, help: string, buckets: number[]) => new Histogram({ name, help, buckets, registers }),
  }
}

/** Bucket bounds in seconds for work on this machine: from a tenth of a millisecond to some seconds. */
export const LOCAL_SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]
/** Bucket bounds in seconds for answers over a network: from a millisecond to half a minute. */
export const NETWORK_SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30]
