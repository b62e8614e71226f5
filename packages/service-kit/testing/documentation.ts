/** Tables for the documentation, made from the declarations in the code. */
import type { Registry } from '../src/metrics.ts'
import type { ErrorKind } from '../src/service-error.ts'
import type { Settings } from '../src/settings.ts'

/** Every setting: variable, default, what is accepted, meaning. */
export function settingsTable(settings: Settings): string {
  return table(
    ['variable', 'default', 'accepted', 'meaning'],
    Object.entries(settings).map(([name, { default: text, kind, meaning }]) => [
      `\`${name}\``,
      text === '' ? '' : `\`${text}\``,
      kind.accepts,
      meaning,
    ]),
  )
}

/** The service's own metrics; those of process and Node are the Prometheus client's. */
export function metricsTable(registry: Registry): string {
  const metrics = registry.getMetricsAsArray().filter(({ name }) => name.startsWith('poke_'))
  return table(
    ['metric', 'type', 'meaning'],
    metrics.map((metric) => {
      const { name, help, type, labelNames } = metric as unknown as { name: string; help: string; type: string; labelNames: string[] }
      return [`\`${name}${labelNames.length > 0 ? `{${labelNames.join(',')}}` : ''}\``, String(type), help]
    }),
  )
}

/** A closed list of errors. @param area the part of the code before the kind; none if the kinds are whole codes */
export function errorRows(errors: Readonly<Record<string, ErrorKind>>, area?: string): string[][] {
  return Object.entries(errors).map(([kind, { meaning, remedy, retriable, exitCode }]) => [
    `\`${area === undefined ? kind : `${area}/${kind}`}\``,
    meaning,
    remedy,
    retriable ? 'the service retries' : `the service ends, exit code ${exitCode}`,
  ])
}

/** @param rows of `errorRows` */
export function errorsTable(rows: readonly (readonly string[])[]): string {
  return table(['code', 'what happened', 'what to do', 'and then'], rows)
}

function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`
  return [line(heading), line(heading.map(() => '---')), ...rows.map(line)].join('')
}
