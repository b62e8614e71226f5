/** A failure that lasts until it is over: said once when it begins and when it changes, now and then while it lasts, and when it ends. */
import { type Logger, logDetails } from './logger.ts'
import { ServiceError } from './service-error.ts'

/** While it lasts it is said again this often, in ms. */
const REMIND_AFTER = 60_000

export interface TroubleOptions {
  readonly logger: Logger
  /** What is said when it is over. */
  readonly over: string
  /** A clock that never goes backwards, in ms. */
  readonly now: () => number
}

export class Trouble {
  readonly #options: TroubleOptions
  #reason: string | null = null
  /** What was said since then: codes where there are some, for messages may carry amounts that change. */
  readonly #said = new Set<string>()
  #saidSince = 0
  #began = 0
  #times = 0

  constructor(options: TroubleOptions) {
    this.#options = options
  }

  /** Why, in the words of the last failure; null where there is no trouble. */
  get reason(): string | null {
    return this.#reason
  }

  /** It failed, perhaps again. */
  failed(error: Error): void {
    const { logger, now } = this.#options
    const at = now()
    if (this.#reason === null) {
      this.#began = at
      this.#times = 0
    }
    if (this.#reason === null || at - this.#saidSince >= REMIND_AFTER) {
      this.#said.clear()
      this.#saidSince = at
    }
    this.#times++
    this.#reason = error.message
    const key = error instanceof ServiceError ? error.code : error.message
    if (this.#said.has(key)) return
    this.#said.add(key)
    const sofar = this.#times > 1 ? { times: this.#times, seconds: Math.round((at - this.#began) / 1000) } : {}
    logger.warn({ ...logDetails(error), ...sofar }, error.message)
  }

  /** It worked. */
  worked(): void {
    if (this.#reason === null) return
    this.#reason = null
    const { logger, now, over } = this.#options
    logger.info({ times: this.#times, seconds: Math.round((now() - this.#began) / 1000) }, over)
  }
}
