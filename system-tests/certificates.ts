/** Certificates for tests, made by openssl: an authority, and valid and invalid certificates that it signs. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Certificate {
  /** PEM: the certificate, and the private key. */
  readonly cert: string
  readonly key: string
  /** A file with certificate and key. */
  readonly file: string
}

export class Authority {
  readonly #dir: string
  readonly #name: string
  #count = 0

  /** @param dir where its files are kept */
  constructor(dir: string, name: string) {
    this.#dir = dir
    this.#name = join(dir, name)
    this.#openssl('req', '-x509', ...NEW_KEY, '-keyout', `${this.#name}.key`, '-out', this.file, '-subj', `/CN=${name}`, '-days', '2')
  }

  /** The certificate of the authority itself. */
  get cert(): string {
    return readFileSync(this.file, 'utf8')
  }

  get file(): string {
    return `${this.#name}.crt`
  }

  /** Makes a certificate. @param days for how long it is valid; negative: it has expired */
  issue(host: string, days = 2): Certificate {
    const name = `${this.#name}-${++this.#count}`
    const [key, request, cert] = [`${name}.key`, `${name}.csr`, `${name}.crt`]
    this.#openssl('req', '-new', ...NEW_KEY, '-keyout', key, '-out', request, '-subj', '/CN=test', '-addext', `subjectAltName=DNS:${host}`)
    const signed = ['-CA', this.file, '-CAkey', `${this.#name}.key`, '-days', String(days), '-copy_extensions', 'copy']
    this.#openssl('x509', '-req', '-in', request, ...signed, '-out', cert)
    const pem = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8'), file: `${name}.pem` }
    writeFileSync(pem.file, pem.key + pem.cert)
    return pem
  }

  #openssl(...words: string[]): void {
    execFileSync('openssl', words, { cwd: this.#dir, stdio: 'pipe' })
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
