/** `make up` without a container engine: invalid numbers of consumers, and an engine that fails. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))
let folder: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'compose-up-'))
})

after(async () => {
  await rm(folder, { recursive: true })
})

/** Runs `make up` with a `docker` that ends with this exit code when containers are started. */
async function makeUp(env: Record<string, string>, exitCode = 0): Promise<{ code: number; out: string; err: string }> {
  const docker = join(folder, 'docker')
  await writeFile(docker, `#!/bin/sh\ncase " $* " in *' up '*) exit ${exitCode} ;; *' port '*) echo 127.0.0.1:8080 ;; esac\n`)
  await chmod(docker, 0o755)
  const PATH = `${folder}${delimiter}${process.env.PATH}`
  return new Promise((resolve) => {
    execFile('make', ['--no-print-directory', 'up'], { cwd: REPOSITORY, env: { ...process.env, ...env, PATH } }, (error, out, err) =>
      resolve({ code: Number(error?.code ?? 0), out, err }),
    )
  })
}

test('says where the page is when the containers were started', async () => {
  const { code, out } = await makeUp({})
  assert.equal(code, 0)
  assert.match(out, /^The page: http:\/\/127\.0\.0\.1:8080\nThe counts: output\/type-counts\.json\n$/m)
})

test('fails where the containers cannot be started, and names no page', async () => {
  const { code, out } = await makeUp({}, 1)
  assert.notEqual(code, 0)
  assert.doesNotMatch(out, /The page/)
})

for (const CONSUMERS of ['abc', '0', '-1', '1.5', '03']) {
  test(`refuses CONSUMERS=${CONSUMERS}`, async () => {
    const { code, err } = await makeUp({ CONSUMERS })
    assert.notEqual(code, 0)
    assert.match(err, new RegExp(`CONSUMERS is "${CONSUMERS}": give a whole number from 1`))
  })
}

test('refuses fewer ports than consumers, and says which would do', async () => {
  const { code, err } = await makeUp({ CONSUMERS: '3', CONSUMER_PORTS: '8090-8091' })
  assert.notEqual(code, 0)
  assert.match(err, /CONSUMER_PORTS=8090-8091 has 2 ports, and 3 consumers need one each: set CONSUMER_PORTS=8090-8092/)
})

test('refuses a text that is not a range of ports', async () => {
  const { code, err } = await makeUp({ CONSUMERS: '2', CONSUMER_PORTS: '8090..8091' })
  assert.notEqual(code, 0)
  assert.match(err, /CONSUMER_PORTS is "8090\.\.8091": give a port, or a range of ports/)
})

/** Whether `make up` checks that PokeAPI answers, if `.env` has this content. */
async function asksPokeApi(content: string): Promise<boolean> {
  await writeFile(join(folder, '.env'), content)
  await writeFile(join(folder, 'docker'), `#!/bin/sh\necho "$*" >> '${join(folder, 'asked')}'\n`)
  await chmod(join(folder, 'docker'), 0o755)
  await rm(join(folder, 'asked'), { force: true })
  const { POKE_API_URL: _, ...env } = process.env
  await promisify(execFile)(join(REPOSITORY, 'dev', 'compose-up.sh'), {
    cwd: folder,
    env: { ...env, PATH: `${folder}${delimiter}${process.env.PATH}` },
  })
  return (await readFile(join(folder, 'asked'), 'utf8')).includes('check-api')
}

test('a POKE_API_URL in .env is used without a check, however it is written', async () => {
  for (const set of [
    'POKE_API_URL=http://a',
    '\ufeffPOKE_API_URL=http://a\r\n',
    'A=1\nexport POKE_API_URL=http://a',
    ' POKE_API_URL = "http://a"',
  ])
    assert.equal(await asksPokeApi(set), false, JSON.stringify(set))
  for (const unset of [
    '#POKE_API_URL=http://a',
    'POKE_API_URL=\r\n',
    "POKE_API_URL=''",
    'POKE_API_URL= # none',
    'MY_POKE_API_URL=http://a',
  ])
    assert.equal(await asksPokeApi(unset), true, JSON.stringify(unset))
})
