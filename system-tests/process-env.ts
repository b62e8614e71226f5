/** The variables of this environment that tests pass on to processes: where programs are, and the cache of compiled code, because each test starts many. */
import { fileURLToPath } from 'node:url'

export const PROCESS_ENV: NodeJS.ProcessEnv = {
  PATH: process.env.PATH,
  NODE_COMPILE_CACHE: fileURLToPath(new URL('../.cache/compiled', import.meta.url)),
}
