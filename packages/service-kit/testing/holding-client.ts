/**
 * A client that opens connections and holds them: `holding-client.ts PORT LOCAL-ADDRESS COUNT TEXT [again]`.
 * It sends the text on each connection, reads nothing, tells its parent how many it has opened and how many the server has closed, and holds the
 * others until the parent ends. With `again` it replaces closed connections, until it has opened ten times as many.
 */
import { connect } from 'node:net'

const [port, localAddress, count, text = '', again] = process.argv.slice(2)
let tried = 0
let opened = 0
let closed = 0

function open(): void {
  tried++
  const socket = connect({ host: '127.0.0.1', port: Number(port), localAddress: String(localAddress) })
  socket.on('connect', () => {
    opened++
    socket.write(text)
  })
  // The server has reset the connection; `close` follows.
  socket.on('error', () => {})
  socket.on('close', () => {
    closed++
    if (again === 'again' && tried < 10 * Number(count)) open()
  })
}

for (let i = 0; i < Number(count); i++) open()
process.on('disconnect', () => process.exit())
setInterval(() => process.send?.({ opened, closed }), 50)
