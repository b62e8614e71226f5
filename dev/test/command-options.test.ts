/** The options of the commands: help, and messages about invalid options, without a stack. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

function run(command: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL(`../${command}`, import.meta.url)), ...args], {
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

for (const command of ['start.ts', 'sweep.ts']) {
  test(`${command} --help shows its usage and starts nothing`, () => {
    const { status, stdout, stderr } = run(command, '--help')
    assert.deepEqual([status, stderr], [0, ''])
    assert.match(stdout, /^Usage: make /m)
  })

  test(`${command} names an unknown option, shows its usage, and ends with exit code 64`, () => {
    const { status, stdout, stderr } = run(command, '--dta', 'x')
    assert.deepEqual([status, stdout], [64, ''])
    assert.match(stderr, /^Unknown option '--dta'[^\n]*\n\n.*^Usage: make /ms)
    assert.doesNotMatch(stderr, /\n {4}at /)
  })
}
