/** The returned ports are free. */
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { freePort, isPortFree } from '../free-port.ts'

test('a port that another program uses is not free, and another one is chosen', async (t) => {
  const port = await freePort()
  assert.ok(port >= 20_000 && port < 32_000)
  assert.equal(await isPortFree(port), true)
  const server = createServer().listen(port, '127.0.0.1')
  t.after(() => server.close())
  assert.equal(await isPortFree(port), false)

  const draws = [(port - 20_000) / 12_000, 0.999_95]
  assert.notEqual(await freePort(() => draws.shift() ?? Math.random()), port)
  assert.ok(draws.length < 2)
})

test('after a hundred attempts it fails and says that no port is free', async (t) => {
  const port = await freePort()
  const server = createServer().listen(port, '127.0.0.1')
  t.after(() => server.close())
  await assert.rejects(
    freePort(() => (port - 20_000 + 0.5) / 12_000),
    /No free port/,
  )
})
