/** Checks once and quickly whether PokeAPI answers, with the same client as the service. */
import { PokeApiError } from '../../errors.ts'
import { PokeApiClient, type PokeApiClientOptions } from './poke-api-client.ts'

/** In ms; short, because a person is waiting for the start. */
const LONGEST_ANSWER = 3000

/**
 * Requests a real Pokémon: being reachable is not enough, because captive networks answer any request.
 * @throws PokeApiError where it is not returned
 */
export async function probePokeApi({ url, proxy }: Required<Pick<PokeApiClientOptions, 'url' | 'proxy'>>): Promise<void> {
  const client = new PokeApiClient({
    url,
    proxy,
    maxRate: 0,
    cacheFile: ':memory:',
    timeout: LONGEST_ANSWER,
    maxAttempts: 1,
    userAgent: 'poke-api-pipeline (asks once at its start whether the API answers)',
  })
  try {
    if ((await client.capture(1, new AbortController().signal)) !== null) return
    const reason = 'answered with status 404'
    throw new PokeApiError('status', `PokeAPI at ${url}/pokemon/1/ ${reason}: check POKE_API_URL`, { reason })
  } finally {
    await client.close()
  }
}
