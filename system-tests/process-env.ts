/** What processes of tests are given of this one's environment: where programs are, and what was compiled before, since each test starts many. */
import { fileURLToPath } from 'node:url'

export const PROCESS_ENV: NodeJS.ProcessEnv = {
  PATH: process.env.PATH,
  NODE_COMPILE_CACHE: fileURLToPath(new URL('../.cache/compiled', import.meta.url)),
}
