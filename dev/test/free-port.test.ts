/** The returned ports are free. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { freePort, isPortFree } from '../free-port.ts'

test('a port that another program uses is not free, and another one is chosen', async (t) => {
  const free = await freePort()
  assert.ok(free >= 20_000 && free < 32_000)
  assert.equal(await isPortFree(free), true)
  const port = await usedPort(t)
  assert.equal(await isPortFree(port), false)

  const draws = [drawOf(port), 0.999_95]
  assert.notEqual(await freePort(() => draws.shift() ?? Math.random()), port)
  assert.ok(draws.length < 2)
})

test('a port is chosen once, even if nothing listens on it yet', async () => {
  const port = await freePort()
  const draws = [drawOf(port)]
  assert.notEqual(await freePort(() => draws.shift() ?? Math.random()), port)
})

test('after a hundred attempts it fails and says that no port is free', async (t) => {
  const port = await usedPort(t)
  await assert.rejects(
    freePort(() => drawOf(port)),
    /No free port/,
  )
})

/** The random number for which a port is chosen. */
function drawOf(port: number): number {
  return (port - 20_000 + 0.5) / 12_000
}

/** A port in that range which `freePort` has not chosen, and on which a server listens. */
async function usedPort(t: TestContext): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const server = createServer().listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
      continue
    }
    t.after(() => server.close())
    return port
  }
}
