/** Finds TCP ports of this machine that nobody listens on. */
import { createServer } from 'node:net'

/** Is there nobody on this port of the loopback interface? */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/**
 * A free port below the ranges from which systems take the ports of outgoing connections. A broker that was killed thus finds its port free
 * when it comes back: above, a client that knocks on the dead port again and again may be given that very port as its own, and then
 * connects to itself.
 * @param random a number from 0 up to, not including, 1
 */
export async function freePort(random: () => number = Math.random): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 20_000 + Math.floor(random() * 12_000)
    if (await isPortFree(port)) return port
  }
  throw new Error('No free port between 20000 and 31999 on 127.0.0.1 in 100 attempts: something holds very many of them.')
}
