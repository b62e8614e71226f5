/**
 * A connection to one broker for fetching, which receives each answer into one buffer.
 *
 * The client library's connection allocates a buffer for each chunk of a socket and joins them afterwards, which takes more time than processing
 * the records. Here the system writes straight into one of two buffers: while one answer is processed, the next one arrives in the other buffer.
 * The login is the library's.
 */

import { connect, type Socket, type TcpNetConnectOpts } from 'node:net'
import { type ConnectionOptions, connect as connectEncrypted } from 'node:tls'
import {
  AuthenticationError,
  type Connection,
  NetworkError,
  Reader,
  saslAuthenticateV2,
  saslHandshakeV1,
  saslPlain,
  saslScramSha,
  Writer,
} from '@platformatic/kafka'
import type { KafkaSecurity } from '@poke-api-pipeline/kafka-common/kafka-security'
import { KafkaError } from '../errors.ts'

export interface FetchConnectionOptions {
  readonly clientId: string
  /** How to connect: TLS, SASL. */
  readonly clientOptions?: KafkaSecurity
  /** The usual size of the records in an answer, in bytes. A buffer that grew beyond it is freed after use. */
  readonly commonBytes: number
  /** The largest answer to keep whole, in bytes. Of a larger one only the beginning is kept, about `commonBytes` long. Default: no limit. */
  readonly mostBytes?: number
}

const FIRST_BUFFER = 64 * 1024
/** Room for the bytes of a Fetch response beside the records: dozens for each partition. */
const AROUND_RECORDS = 64 * 1024
/** Brokers send the first batch whole, however large it is, and the largest batch that a broker can be configured to accept is below 2 GiB. */
const LARGEST_ANSWER = 2 ** 31 - 1
const SIZE_BYTES = 4
const CORRELATION_BYTES = 4
/** The part of a login's lifetime after which it is renewed. */
const RENEW_LOGIN_AFTER = 0.8

interface Pending {
  readonly correlation: number
  readonly answered: PromiseWithResolvers<Buffer>
}

export class FetchConnection {
  readonly #options: FetchConnectionOptions
  readonly #name: string
  readonly #socket: Socket
  readonly #connected = Promise.withResolvers<void>()
  /** Why the connection cannot be used any more. */
  #failure: Error | null = null
  #pending: Pending | null = null
  #correlation = 0
  /** Aborted when the login must be renewed; null: it does not expire. */
  #login: AbortSignal | null = null

  // The answer that is being received fills #receiving up to #at. The other buffer has the previous answer.
  #receiving = Buffer.allocUnsafeSlow(FIRST_BUFFER)
  #previous = Buffer.allocUnsafeSlow(FIRST_BUFFER)
  #at = 0
  #total = 0
  /** The size of the answer without its own four bytes; −1: they have not arrived yet. */
  #size = -1
  /** Receives the bytes that are not kept. #dropped counts them for this answer, #missing for the previous one. */
  #scrap = Buffer.alloc(0)
  #dropped = 0
  #missing = 0

  private constructor(address: { readonly host: string; readonly port: number }, options: FetchConnectionOptions) {
    this.#options = options
    this.#name = `${address.host}:${address.port}`
    this.#connected.promise.catch(() => {})
    const { tls, tlsServerName } = options.clientOptions ?? {}
    const onread = {
      buffer: () => (this.#isFull ? this.#scrap : this.#receiving.subarray(this.#at)),
      callback: (bytes: number) => {
        this.#received(bytes)
        return true
      },
    }
    const connected = () => this.#connected.resolve()
    if (tls === undefined) this.#socket = connect({ ...address, onread }, connected)
    else {
      const servername = tlsServerName === true ? address.host : tlsServerName
      // Documented for tls.connect as well, but missing in its types.
      const encrypted: ConnectionOptions & Pick<TcpNetConnectOpts, 'onread'> = { ...tls, ...address, onread }
      this.#socket = connectEncrypted(typeof servername === 'string' ? { ...encrypted, servername } : encrypted, connected)
    }
    this.#socket.setNoDelay(true)
    this.#socket.on('error', (error) => this.#fail(new NetworkError(`Connection to ${this.#name} failed.`, { cause: error })))
    this.#socket.on('end', () => this.#fail(new NetworkError(`Connection to ${this.#name} was closed by the broker.`)))
    this.#socket.on('close', () => this.#fail(new NetworkError(`Connection to ${this.#name} is closed.`)))
  }

  /**
   * Connects and logs in.
   * @throws NetworkError, AuthenticationError; the signal's reason once it is aborted
   */
  static async open(
    address: { readonly host: string; readonly port: number },
    options: FetchConnectionOptions,
    signal: AbortSignal,
  ): Promise<FetchConnection> {
    const connection = new FetchConnection(address, options)
    const give = () => connection.#fail(signal.reason)
    signal.addEventListener('abort', give)
    if (signal.aborted) give()
    try {
      await connection.#connected.promise
      await connection.#logIn()
      return connection
    } catch (error) {
      connection.close()
      throw error
    } finally {
      signal.removeEventListener('abort', give)
    }
  }

  /**
   * Sends a request and waits for the answer. Only one request can be under way.
   * @returns the answer without its head. The bytes are valid until the answer after the next one arrives
   * @throws NetworkError if the connection is closed or breaks; KafkaError `bad-response` if the bytes are not an answer to the request. After
   * either the connection cannot be used again
   */
  async ask(apiKey: number, apiVersion: number, request: Writer): Promise<Buffer> {
    if (this.#login?.aborted) await this.#logIn()
    return await this.#ask(apiKey, apiVersion, request, true, true)
  }

  /** Whether the connection cannot be used any more. */
  get closed(): boolean {
    return this.#failure !== null
  }

  /** The number of bytes received so far. It tells whether an answer that takes long is still arriving. */
  get received(): number {
    return this.#total
  }

  /** The number of bytes dropped from the end of the last answer because it was too large. */
  get missing(): number {
    return this.#missing
  }

  /** Closes the connection at once. A request under way rejects. */
  close(): void {
    this.#fail(new NetworkError(`Connection to ${this.#name} is closed.`))
  }

  /** https://kafka.apache.org/protocol#protocol_messages: headers of requests and answers have tagged fields from certain versions on. */
  async #ask(apiKey: number, apiVersion: number, request: Writer, taggedRequest: boolean, taggedAnswer: boolean): Promise<Buffer> {
    if (this.#failure !== null) throw this.#failure
    if (this.#pending !== null) throw new Error(`broker ${this.#name} was asked while it had not answered yet`)
    const correlation = this.#correlation
    this.#correlation = (correlation + 1) & 0x7fffffff
    const head = Writer.create()
      .appendInt16(apiKey)
      .appendInt16(apiVersion)
      .appendInt32(correlation)
      .appendString(this.#options.clientId, false)
    if (taggedRequest) head.appendTaggedFields()
    const answered = Promise.withResolvers<Buffer>()
    this.#pending = { correlation, answered }
    this.#socket.write(head.appendFrom(request).prependLength().buffer)
    const answer = await answered.promise
    // No broker sends tags in this head yet, so they take one byte, which says 0.
    return answer.subarray(CORRELATION_BYTES + (taggedAnswer ? 1 : 0))
  }

  async #logIn(): Promise<void> {
    const sasl = this.#options.clientOptions?.sasl
    if (sasl === undefined) return
    const { mechanism, username, password } = sasl
    const self = this.#asLibraryConnection()
    try {
      await saslHandshakeV1.api.async(self, mechanism)
      const authenticate = saslAuthenticateV2.api
      const { sessionLifetimeMs } =
        mechanism === 'PLAIN'
          ? await saslPlain.authenticate(authenticate, self, username ?? '', password ?? '')
          : await saslScramSha.authenticate(
              authenticate,
              self,
              mechanism === 'SCRAM-SHA-512' ? 'SHA-512' : 'SHA-256',
              username ?? '',
              password ?? '',
              saslScramSha.defaultCrypto,
            )
      const lifetime = Number(sessionLifetimeMs)
      this.#login = lifetime > 0 ? AbortSignal.timeout(lifetime * RENEW_LOGIN_AFTER) : null
    } catch (error) {
      throw this.#failure ?? new AuthenticationError(`${this.#name} refused the login.`, { cause: error as Error })
    }
  }

  /** The library's login functions use only this one method of a connection. */
  #asLibraryConnection(): Connection {
    const send: Connection['send'] = (apiKey, apiVersion, createPayload, parse, taggedRequest, taggedAnswer, callback) => {
      const answer = this.#ask(apiKey, apiVersion, createPayload() as Writer, taggedRequest, taggedAnswer)
      answer
        .then((bytes) => parse(0, apiKey, apiVersion, Reader.from(Buffer.from(bytes))))
        .then((parsed) => callback(null, parsed), callback)
    }
    return { send } as unknown as Connection
  }

  get #isFull(): boolean {
    return this.#at === this.#receiving.length
  }

  #received(bytes: number): void {
    if (this.#isFull) this.#dropped += bytes
    else this.#at += bytes
    this.#total += bytes
    if (this.#size < 0) {
      if (this.#at < SIZE_BYTES) return
      this.#size = this.#receiving.readInt32BE(0)
      if (this.#size < CORRELATION_BYTES + 1 || this.#size > LARGEST_ANSWER - SIZE_BYTES) {
        this.#fail(new KafkaError('bad-response', `broker ${this.#name} announced a response of ${this.#size} bytes`, { retried: true }))
        return
      }
      if (this.#size + SIZE_BYTES > this.#receiving.length) this.#grow(this.#size + SIZE_BYTES)
    }
    const surplus = this.#at + this.#dropped - SIZE_BYTES - this.#size
    if (surplus < 0) return
    const answer = this.#receiving.subarray(SIZE_BYTES, SIZE_BYTES + this.#size)
    const pending = this.#pending
    if (pending === null || surplus > 0 || answer.readInt32BE(0) !== pending.correlation) {
      this.#fail(
        new KafkaError('bad-response', `broker ${this.#name} answered another request than the one that was sent`, { retried: true }),
      )
      return
    }
    this.#pending = null
    this.#missing = this.#dropped
    this.#takeTurns()
    pending.answered.resolve(answer)
  }

  #grow(bytes: number): void {
    const { commonBytes, mostBytes = LARGEST_ANSWER } = this.#options
    const usual = commonBytes + AROUND_RECORDS
    const isTooLong = bytes > Math.max(mostBytes, usual)
    if (isTooLong && this.#scrap.length === 0) this.#scrap = Buffer.allocUnsafeSlow(FIRST_BUFFER)
    const size = isTooLong ? usual : bytes > usual ? bytes : Math.min(2 ** Math.ceil(Math.log2(bytes)), usual)
    if (size === this.#receiving.length) return
    const grown = Buffer.allocUnsafeSlow(size)
    this.#receiving.copy(grown, 0, 0, this.#at)
    this.#receiving = grown
  }

  #takeTurns(): void {
    const next = this.#previous
    this.#previous = this.#receiving
    this.#receiving = next.length > this.#options.commonBytes + AROUND_RECORDS ? Buffer.allocUnsafeSlow(FIRST_BUFFER) : next
    this.#at = 0
    this.#size = -1
    this.#dropped = 0
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#connected.reject(this.#failure)
    this.#pending?.answered.reject(this.#failure)
    this.#pending = null
    this.#socket.destroy()
  }
}
