/** NODE_EXTRA_CA_CERTS of a file `.env`: Node itself reads the variable once, before any program can, and takes no notice of it there. */
import { readFileSync } from 'node:fs'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { ownError } from './own-errors.ts'

type Environment = Readonly<Record<string, string | undefined>>

const NAME = 'NODE_EXTRA_CA_CERTS'
const CERTIFICATE = /-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/gs

/**
 * Trusts the authorities of that file in this process, beside those that are trusted already.
 * @param env with what `.env` has
 * @param given the environment that this process was started with
 * @throws ServiceError (exit code 78) where the file has no certificates
 */
export function trustExtraAuthorities(env: Environment, given: Environment): void {
  const file = env[NAME]?.trim()
  // Where the process was started with it, also empty, Node has seen to it.
  if (!file || given[NAME] !== undefined) return
  try {
    const authorities = readFileSync(file, 'utf8').match(CERTIFICATE)
    if (authorities === null) throw Object.assign(new Error('no certificate'), { code: 'there is none in it' })
    setDefaultCACertificates([...getCACertificates('default'), ...authorities])
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw ownError(
      'config/wrong',
      `${NAME} of .env is "${file}", and its certificates cannot be read (${code}): name a file of certificates (PEM)`,
    )
  }
}
