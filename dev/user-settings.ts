/** Checks the user's settings before anything is started, so that all mistakes are reported at once. */
import { readConfig as readConsumerConfig } from '@poke-api-pipeline/poke-api-consumer/config'
import { readConfig as readProducerConfig } from '@poke-api-pipeline/poke-api-producer/config'
import { WrongSettings } from '@poke-api-pipeline/service-kit'

/**
 * @param env the user's variables, without those that a command sets
 * @returns a warning for each variable that is probably misspelt
 * @throws WrongSettings which names every wrong setting of both services
 */
export function checkSettings(env: NodeJS.ProcessEnv): string[] {
  const problems = new Set<string>()
  const warnings = new Set<string>()
  for (const read of [readProducerConfig, readConsumerConfig]) {
    try {
      for (const warning of read(env).warnings) warnings.add(warning)
    } catch (error) {
      if (!(error instanceof WrongSettings)) throw error
      for (const problem of error.problems) problems.add(problem)
      for (const warning of error.warnings) warnings.add(warning)
    }
  }
  if (problems.size === 0) return [...warnings]
  throw new WrongSettings([...problems], [...warnings])
}
