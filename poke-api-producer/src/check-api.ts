/** The command `check-api`: checks whether PokeAPI answers, before anything is started that needs it. */
import { EXIT, proxyFor, shownProxy } from '@poke-api-pipeline/service-kit'
import { readConfig } from './config.ts'
import { probePokeApi } from './infrastructure/poke-api/probe.ts'

/** @returns the exit code @throws ServiceError where settings are wrong, and PokeApiError where it does not answer */
export async function checkApi(env: Readonly<Record<string, string | undefined>>): Promise<number> {
  const { config, warnings } = readConfig(env)
  for (const warning of warnings) console.error(`Warning: ${warning}`)
  const url = config.POKE_API_URL
  const proxy = proxyFor(url, config)
  await probePokeApi({ url, proxy })
  console.log(`PokeAPI answers at ${url}${proxy === null ? '' : ` through the proxy ${shownProxy(proxy)}`}.`)
  return EXIT.ok
}
