/** The command line as a process: its help is fast and needs no store or broker, and docs/operations.md lists every command. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))

test('docs/operations.md has every command with its options, and no other', () => {
  const help = execFileSync(process.execPath, [CLI, '--help'], { encoding: 'utf8' })
  const usage = /^Usage: ([\s\S]*?)\n\n/m.exec(help)?.[1] ?? ''
  const commands = usage
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== 'poke-api-consumer' && !line.includes('--help'))
  const document = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8')
  const documented = [...document.matchAll(/^\| `(poke-api-consumer [^`]+)` \|/gm)].map(([, command]) => command)
  assert.deepEqual(documented.sort(), commands.sort())
})

test('the help does not load the Kafka client, which takes longer to load than everything else', () => {
  const onLoad = "(url, context, next) => { if (url.includes('@platformatic/kafka')) throw new Error(url); return next(url, context) }"
  const hook = `import { registerHooks } from 'node:module'; registerHooks({ load: ${onLoad} })`
  execFileSync(process.execPath, [`--import=data:text/javascript,${encodeURIComponent(hook)}`, CLI, '--help'])
})
