/** Chooses where Pokémon come from: what the user says, the live PokeAPI where it answers, otherwise the bundled Pokédex. */
import { pickPokemon } from 'pokemon-event'
import { type PokeApiServer, servePokeApi } from './poke-api-server.ts'

export const LIVE_POKE_API = 'https://pokeapi.co/api/v2'
const USUAL_PORT = 8082

export interface PokeApiChoice {
  readonly url: string
  readonly kind: 'given' | 'live' | 'bundled'
  /** For people: what it is, and why it was chosen. */
  readonly what: string
  close(): Promise<void>
}

/** @param given POKE_API_URL, which wins; it is not asked whether it answers */
export async function choosePokeApi(given: string | undefined, live: string = LIVE_POKE_API): Promise<PokeApiChoice> {
  const nothingToClose = async () => undefined
  if (given) return { url: given, kind: 'given', what: `${given} (POKE_API_URL)`, close: nothingToClose }
  const trouble = await whyNot(live)
  if (trouble === null) return { url: live, kind: 'live', what: `live, ${live}`, close: nothingToClose }
  const server = await serveBundled()
  const what = `the bundled Pokédex at ${server.url} (the live one ${trouble})`
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

/** Why an API cannot be used; null where it gives a real Pokémon. Being reachable is not enough: captive networks answer everything. */
async function whyNot(url: string): Promise<string | null> {
  try {
    const response = await fetch(`${url}/pokemon/1/`, {
      signal: AbortSignal.timeout(3000),
      headers: { 'user-agent': 'poke-api-pipeline (asks once at its start whether the API answers)' },
    })
    if (!response.ok) {
      await response.body?.cancel()
      return `answered with status ${response.status}`
    }
    return pickPokemon(await response.json())?.id === 1 ? null : 'answered with something that is no Pokémon'
  } catch (error) {
    if ((error as Error).name === 'TimeoutError') return 'did not answer within 3 s'
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException
    return code === undefined ? 'did not answer properly' : `cannot be reached: ${code}`
  }
}
