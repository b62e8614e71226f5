/** What the user has set for the services: looked at before anything is started, so that all that is wrong is told at once. */
import { readConfig as readConsumerConfig } from 'poke-api-consumer/src/config.ts'
import { readConfig as readProducerConfig } from 'poke-api-producer/src/config.ts'
import { EXIT, ServiceError } from 'service-kit'

/**
 * @param env the user's own variables, without what a command sets by itself
 * @returns warnings of variables that are probably misspelt
 * @throws ServiceError (exit code 78) which names every wrong setting of both services
 */
export function checkSettings(env: NodeJS.ProcessEnv): string[] {
  const problems = new Set<string>()
  const warnings = new Set<string>()
  for (const read of [readProducerConfig, readConsumerConfig]) {
    try {
      for (const warning of read(env).warnings) warnings.add(warning)
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      // One line for each setting, below a heading.
      for (const problem of error.message.split('\n').slice(1)) problems.add(problem)
    }
  }
  if (problems.size === 0) return [...warnings]
  const heading = problems.size === 1 ? 'A setting is wrong:' : `${problems.size} settings are wrong:`
  throw new ServiceError([heading, ...problems].join('\n'), { code: 'config/wrong', exitCode: EXIT.config, retriable: false })
}
