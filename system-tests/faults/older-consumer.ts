/**
 * Loaded into a consumer with `--import`, this makes it behave as an earlier version that cannot count one type: the dead letters that it keeps
 * can be replayed by the real version.
 */
import { registerHooks } from 'node:module'

/** The type that it does not know. */
const REFUSED = 'fairy'

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    if (!url.endsWith('/poke-api-consumer/src/entities/pokemon.ts')) return loaded
    const source = String(loaded.source)
    const decided = 'if (!decoded.ok) return decoded.reason'
    if (!source.includes(decided)) throw new Error(`${url} has changed: there is no "${decided}" in it`)
    const refusing = `if (decoded.event.types.some(({ type }) => type.name === '${REFUSED}')) return 'bad-type-name'`
    return { ...loaded, source: source.replace(decided, `${decided}\n  ${refusing}`) }
  },
})
