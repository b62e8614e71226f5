/** One observer in place of several listeners. */

/**
 * @param listeners called in this order; each has the methods that it uses
 * @returns an observer that passes each call on to every listener with that method
 */
export function fanOut<Observer extends object>(listeners: readonly Partial<Observer>[]): Observer {
  const methods = new Map<PropertyKey, (...args: unknown[]) => void>()
  return new Proxy({} as Observer, {
    get(_, name) {
      let method = methods.get(name)
      if (method === undefined) {
        method = (...args) => {
          for (const listener of listeners as readonly Record<PropertyKey, ((...args: unknown[]) => void) | undefined>[])
            listener[name]?.(...args)
        }
        methods.set(name, method)
      }
      return method
    },
  })
}
