/** Whether the service can do its work now, and if not, why: one part after the other is asked. */

/** Why this part cannot work now, for a human; null where it can. */
export type HealthCheck = () => string | null

export class Health {
  readonly #checks = new Map<string, HealthCheck>()

  /** Adds a part. @param part its name, as it stands before its reasons */
  add(part: string, check: HealthCheck): void {
    this.#checks.set(part, check)
  }

  /** Why the service is not ready, each with the part that says it; empty where it is ready. */
  reasons(): string[] {
    const reasons: string[] = []
    for (const [part, check] of this.#checks) {
      const reason = check()
      if (reason !== null) reasons.push(`${part}: ${reason}`)
    }
    return reasons
  }
}
