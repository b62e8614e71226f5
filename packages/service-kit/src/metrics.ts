/** A registry of metrics for Prometheus. */
import { collectDefaultMetrics, Registry } from '@prometheus-io/client'

export { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client'

/** A new registry with the Prometheus client's own metrics of process and Node (`process_…`, `nodejs_…`). */
export function createRegistry(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  return registry
}

/** Bucket bounds in seconds for work on this machine: from a tenth of a millisecond to some seconds. */
export const LOCAL_SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]
/** Bucket bounds in seconds for answers over a network: from a millisecond to half a minute. */
export const NETWORK_SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30]
