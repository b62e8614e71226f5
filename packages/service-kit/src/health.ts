/** Collects from the parts of a service why they cannot work now. */

/** @returns why this part cannot work now, as a text for people; null if it can */
export type HealthCheck = () => string | null

export class Health {
  readonly #checks = new Map<string, HealthCheck>()

  /** Adds a part. @param part its name, which precedes its reason */
  add(part: string, check: HealthCheck): void {
    this.#checks.set(part, check)
  }

  /** Why the service is not ready, each reason with the name of its part; empty if the service is ready. */
  reasons(): string[] {
    const reasons: string[] = []
    for (const [part, check] of this.#checks) {
      const reason = check()
      if (reason !== null) reasons.push(`${part}: ${reason}`)
    }
    return reasons
  }
}
