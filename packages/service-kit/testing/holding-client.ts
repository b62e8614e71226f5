/**
 * A client that opens connections and does no more with them: `holding-client.ts PORT LOCAL-ADDRESS COUNT TEXT [again]`.
 * It writes the text on each of them, reads nothing, tells its parent how many were opened and how many were closed by the server, and holds the rest
 * until the parent ends. With `again` each that was closed is opened anew, up to ten times as many.
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
  // Reset by the server; `close` follows.
  socket.on('error', () => {})
  socket.on('close', () => {
    closed++
    if (again === 'again' && tried < 10 * Number(count)) open()
  })
}

for (let i = 0; i < Number(count); i++) open()
process.on('disconnect', () => process.exit())
setInterval(() => process.send?.({ opened, closed }), 50)
