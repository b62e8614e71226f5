/** A failure that lasts until it is over: said once when it begins and when it changes, now and then while it lasts, and when it ends. */
import { printable } from './foreign-text.ts'
import { type Logger, logDetails } from './logger.ts'
import { ServiceError } from './service-error.ts'

/** While it lasts it is said again this often, in ms. */
const REMIND_AFTER = 60_000
/** One that comes back so soon after its end, in ms, is the same: of two brokers one may answer and the other not, turn and turn about. */
const SAME_OUTAGE = 10_000
/** In characters: it is shown by readiness and on the page. */
const LONGEST_REASON = 2000

export interface OutageLogOptions {
  readonly logger: Logger
  /** What is said when it is over. */
  readonly over: string
  /** A clock that never goes backwards, in ms. */
  readonly now: () => number
  /** Aborted when the service stops. What fails then is given up, which is not its end, so that no end is said. */
  readonly stopping?: AbortSignal | undefined
}

export class OutageLog {
  readonly #options: OutageLogOptions
  #reason: string | null = null
  /** What was said since then: codes where there are some, for messages may carry amounts that change. */
  readonly #said = new Set<string>()
  #saidSince = 0
  /** Whether anything was said of it since it began: its end is then worth a word, too. */
  #spoken = false
  #began = 0
  #ended = Number.NEGATIVE_INFINITY
  #times = 0

  constructor(options: OutageLogOptions) {
    this.#options = options
  }

  /** Why, in the words of the last failure; null while there is no failure. */
  get reason(): string | null {
    return this.#reason
  }

  /** It failed, perhaps again. */
  failed(error: Error): void {
    const at = this.#options.now()
    if (this.#reason === null) {
      this.#began = at
      this.#times = 0
      this.#spoken = false
      if (at - this.#ended >= SAME_OUTAGE) this.#said.clear()
    }
    if (at - this.#saidSince >= REMIND_AFTER) this.#said.clear()
    if (this.#said.size === 0) this.#saidSince = at
    this.#times++
    this.#reason = printable(error.message, LONGEST_REASON)
    const key = error instanceof ServiceError ? error.code : error.message
    const lasts = !this.#spoken && at - this.#began >= SAME_OUTAGE
    if (this.#said.has(key) && !lasts) return
    this.#said.add(key)
    this.#spoken = true
    const soFar = this.#times > 1 ? { times: this.#times, seconds: Math.round((at - this.#began) / 1000) } : {}
    this.#options.logger.warn({ ...logDetails(error), ...soFar }, this.#reason)
  }

  /** It worked. */
  worked(): void {
    if (this.#reason === null) return
    this.#reason = null
    const { logger, now, over, stopping } = this.#options
    this.#ended = now()
    if (this.#spoken && !stopping?.aborted)
      logger.info({ times: this.#times, seconds: Math.round((this.#ended - this.#began) / 1000) }, over)
  }
}
