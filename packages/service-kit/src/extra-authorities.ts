/** NODE_EXTRA_CA_CERTS of a file `.env`: Node reads this variable before the program starts, so it does not notice the one of the file. */
import { readFileSync } from 'node:fs'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { ownError } from './own-errors.ts'

type Environment = Readonly<Record<string, string | undefined>>

const NAME = 'NODE_EXTRA_CA_CERTS'
const CERTIFICATE = /-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/gs

/**
 * Makes this process trust the authorities of that file, in addition to those that Node trusts.
 * @param env with the variables of `.env`
 * @param given the environment that this process was started with
 * @throws ServiceError (exit code 78) if the file has no certificates
 */
export function trustExtraAuthorities(env: Environment, given: Environment): void {
  const file = env[NAME]?.trim()
  // If the process was started with the variable, even an empty one, Node has read it.
  if (!file || given[NAME] !== undefined) return
  try {
    const authorities = readFileSync(file, 'utf8').match(CERTIFICATE)
    if (authorities === null) throw Object.assign(new Error('no certificate'), { code: 'it contains none' })
    setDefaultCACertificates([...getCACertificates('default'), ...authorities])
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw ownError(
      'config/wrong',
      `${NAME} of .env is "${file}", and its certificates cannot be read (${code}): name a file of certificates (PEM)`,
    )
  }
}
