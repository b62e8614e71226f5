/** A server can quote the password in its error. The service's error must not contain it. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { StoreError } from '../src/errors.ts'
import { openStore } from '../src/infrastructure/storage/open-store.ts'

/** A server that requests the password in clear text and quotes it in its error. @returns its port */
async function startEcho(t: TestContext): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      // AuthenticationCleartextPassword
      socket.write(Buffer.from('520000000800000003', 'hex'))
      socket.once('data', (answer) => {
        const fields = Buffer.from(`SFATAL\0VFATAL\0C28P01\0Mno user with ${answer.toString('latin1', 5, answer.length - 1)}\0\0`, 'latin1')
        const head = Buffer.alloc(5, 'E')
        head.writeInt32BE(fields.length + 4, 1)
        socket.end(Buffer.concat([head, fields]))
      })
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

test('a password that the server quotes is in neither message nor cause', async (t) => {
  const secret = randomBytes(12).toString('hex')
  const host = `127.0.0.1:${await startEcho(t)}`
  for (const [url, password] of [
    [`postgres://user:${secret}@${host}/d?sslmode=disable`, null],
    [`postgres://user@${host}/d?sslmode=disable`, secret],
  ] as const) {
    await assert.rejects(openStore(url, { groupId: 'group', password }), (error) => {
      assert.ok(error instanceof StoreError)
      assert.match(error.message, /refused the login: .*STORE_PASSWORD_FILE \(no user with \*\*\*, 28P01\)/)
      assert.ok(!String((error.cause as Error).message).includes(secret))
      return true
    })
  }
})
