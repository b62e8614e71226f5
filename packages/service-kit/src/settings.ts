/** Reads a service's declared settings from the environment, and reports all wrong settings at once. */
import { printable } from './foreign-text.ts'
import { misspelt } from './misspelt-settings.ts'
import { OWN_ERRORS } from './own-errors.ts'
import { ServiceError } from './service-error.ts'
import type { SettingKind } from './setting-kinds.ts'
import { HIDDEN, shownRefused } from './shown-setting.ts'

export interface Setting<T> {
  readonly kind: SettingKind<T>
  /** As it would be written in the environment. */
  readonly default: string
  /** One sentence for documentation and help. */
  readonly meaning: string
}

/** Settings by their environment variables. */
export type Settings = Readonly<Record<string, Setting<unknown>>>

/** The parsed values, by the same names. */
export type SettingValues<S extends Settings> = { readonly [Name in keyof S]: S[Name] extends Setting<infer T> ? T : never }

/** Checks settings that depend on each other. @returns which settings, what is wrong and what to do; null if nothing is wrong */
export type SettingRule<S extends Settings> = (values: SettingValues<S>) => string | null

/** Settings are wrong (exit code 78). The message has a line for each of them, and for each variable that is probably a misspelt setting. */
export class WrongSettings extends ServiceError {
  readonly problems: readonly string[]
  readonly warnings: readonly string[]

  constructor(problems: readonly string[], warnings: readonly string[]) {
    const heading = problems.length === 1 ? 'a setting is wrong' : `${problems.length} settings are wrong`
    const code = 'config/wrong'
    super([`${heading}:`, ...[...problems, ...warnings].map((line) => `  ${line}`)].join('\n'), { ...OWN_ERRORS[code], code })
    this.problems = problems
    this.warnings = warnings
  }
}

/** Declares a setting, so that its type follows from its kind. */
export function setting<T>(kind: SettingKind<T>, defaultText: string, meaning: string): Setting<T> {
  return { kind, default: defaultText, meaning }
}

/**
 * Reads the settings. An empty variable counts as not set, because compose files and .env files contain such variables.
 * @param rules are checked once each setting is valid by itself
 * @returns the values, and a warning for each variable whose name is close to that of a setting
 * @throws WrongSettings that names each wrong setting, the given value without secrets, and the accepted ones
 */
export function readSettings<S extends Settings>(
  settings: S,
  env: Readonly<Record<string, string | undefined>>,
  rules: readonly SettingRule<S>[] = [],
): { readonly values: SettingValues<S>; readonly warnings: readonly string[] } {
  const values: Record<string, unknown> = {}
  const problems: string[] = []
  for (const [name, { kind, default: defaultText }] of Object.entries(settings)) {
    const given = env[name]?.trim() || defaultText
    const parsed = kind.parse(given)
    if (parsed.ok) values[name] = parsed.value
    else {
      const why = parsed.why === undefined ? '' : ` (${parsed.why})`
      problems.push(`${name} is "${kind.isSecret ? HIDDEN : shownRefused(given)}"${why}; accepted: ${kind.accepts}`)
    }
  }
  const complete = values as SettingValues<S>
  if (problems.length === 0) problems.push(...rules.map((rule) => rule(complete)).filter((problem) => problem !== null))
  const warnings = misspelt(Object.keys(settings), Object.keys(env)).map(
    ([given, meant]) => `the environment variable ${printable(given)} is not a setting of this service: was ${meant} meant?`,
  )
  if (problems.length > 0) throw new WrongSettings(problems, warnings)
  return { values: complete, warnings }
}
