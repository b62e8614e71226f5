/** The mock of PokeAPI does what every PokeApi must do. */
import { testPokeApi } from './contract/poke-api.ts'
import { apiIsDown, MockPokeApiClient } from './mock-poke-api-client.ts'

testPokeApi('MockPokeApiClient', (_t, { down = false, ...world }) => {
  const api = new MockPokeApiClient(world)
  if (down) api.down = apiIsDown()
  return api
})
