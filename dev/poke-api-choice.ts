/** Chooses the source of Pokémon: the URL that the user has set, else the live PokeAPI if it answers, else the bundled Pokédex. */
import { PokeApiError } from '@poke-api-pipeline/poke-api-producer/errors'
import { probePokeApi } from '@poke-api-pipeline/poke-api-producer/probe'
import { shownProxy } from '@poke-api-pipeline/service-kit'
import { type PokeApiServer, servePokeApi } from './poke-api-server.ts'

export const LIVE_POKE_API = 'https://pokeapi.co/api/v2'
const USUAL_PORT = 8082

export interface PokeApiChoice {
  readonly url: string
  readonly kind: 'given' | 'live' | 'bundled'
  /** For people: its name, and why it was chosen. */
  readonly what: string
  close(): Promise<void>
}

/**
 * @param given POKE_API_URL; it is chosen without a request to it
 * @param proxy for requests to the live PokeAPI, the same as the producer's
 */
export async function choosePokeApi(
  given: string | undefined,
  { live = LIVE_POKE_API, proxy = null }: { readonly live?: string; readonly proxy?: URL | null } = {},
): Promise<PokeApiChoice> {
  const nothingToClose = async () => undefined
  if (given) return { url: given, kind: 'given', what: `${given} (POKE_API_URL)`, close: nothingToClose }
  const reason = await whyNot(live, proxy)
  if (reason === null)
    return {
      url: live,
      kind: 'live',
      what: `live, ${live}${proxy === null ? '' : ` through the proxy ${shownProxy(proxy)}`}`,
      close: nothingToClose,
    }
  const server = await serveBundled()
  const what = `the bundled Pokédex at ${server.url} (the live one ${reason})`
  return { url: server.url, kind: 'bundled', what, close: () => server.close() }
}

async function serveBundled(): Promise<PokeApiServer> {
  try {
    return await servePokeApi({ port: USUAL_PORT })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    return await servePokeApi()
  }
}

/** Why an API cannot be used; null where it returns a real Pokémon. */
async function whyNot(url: string, proxy: URL | null): Promise<string | null> {
  try {
    await probePokeApi({ url, proxy })
    return null
  } catch (error) {
    if (!(error instanceof PokeApiError)) throw error
    return error.cause instanceof Error ? error.cause.message : error.reason
  }
}
