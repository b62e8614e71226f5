/** Finds free TCP ports of this machine. */
import { createServer } from 'node:net'

/** Whether no process listens on this port of the loopback interface. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** The ports that were chosen in this process. A port counts as free until a process listens on it, so it could be chosen twice. */
const chosen = new Set<number>()

/**
 * A free port, at each call another one. It is below the ranges from which systems take the ports of outgoing connections. So a killed broker finds
 * its port free when it is started again: within those ranges, a client that tries to reconnect may get that very port as its own, and connects to
 * itself.
 * @param random a number from 0 up to, not including, 1
 */
export async function freePort(random: () => number = Math.random): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 20_000 + Math.floor(random() * 12_000)
    if (chosen.has(port)) continue
    chosen.add(port)
    if (await isPortFree(port)) return port
  }
  throw new Error(
    'No free port was found between 20000 and 31999 on 127.0.0.1 in 100 attempts: end the program that listens on so many ports.',
  )
}
