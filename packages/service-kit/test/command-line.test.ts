/** The command line of a service: commands, options, help, and its answers to invalid arguments. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CommandInput, type CommandLine, runCommandLine, usageError } from '../src/command-line.ts'
import { ServiceError } from '../src/service-error.ts'
import { integer } from '../src/setting-kinds.ts'
import { setting } from '../src/settings.ts'

async function run(...argv: string[]): Promise<{ exitCode: number; out: string; error: string; called: [string, CommandInput][] }> {
  const called: [string, CommandInput][] = []
  const command = (name: string, answer: (input: CommandInput) => number) => async (input: CommandInput) => {
    called.push([name, input])
    return answer(input)
  }
  const line: CommandLine = {
    name: 'poke',
    version: '1.2.3',
    description: 'Counts Pokémon.',
    settings: {
      HTTP_PORT: setting(integer({ min: 0, max: 9 }), '8', 'The port.'),
      EMPTY: setting(integer({ min: 0, max: 9 }), '', 'Nothing.'),
    },
    commands: [
      {
        name: '',
        meaning: 'Runs.',
        options: { mode: { type: 'string', value: 'sweep|random', meaning: 'How.' } },
        run: command('', () => 0),
      },
      {
        name: 'counts',
        meaning: 'Shows counts.',
        options: { json: { type: 'boolean', meaning: 'As JSON.' } },
        run: command('counts', () => 3),
      },
      {
        name: 'totals',
        meaning: 'Shows totals.',
        options: { all: { type: 'boolean', required: true, meaning: 'Of all.' }, json: { type: 'boolean', meaning: 'As JSON.' } },
        run: command('totals', () => 0),
      },
      { name: 'dead-letters list', meaning: 'Lists.', run: command('dead-letters list', () => 0) },
      { name: 'dead-letters replay', meaning: 'Replays.', args: '[id…]', run: command('dead-letters replay', () => 0) },
      {
        name: 'fail',
        meaning: 'Fails.',
        args: '<how>',
        run: command('fail', ({ args }) => {
          if (args[0] === 'usage') throw usageError('how?')
          if (args[0] === 'expected') throw new ServiceError('the disk is full', { code: 'store/full', exitCode: 75, retriable: true })
          throw new TypeError('oh')
        }),
      },
    ],
  }
  const out: string[] = []
  const error: string[] = []
  const output = { out: (text: string) => void out.push(text), error: (text: string) => void error.push(text) }
  const exitCode = await runCommandLine(line, argv, { HOME: '/home' }, output)
  return { exitCode, out: out.join(''), error: error.join(''), called }
}

test('without words the first command runs, with the environment', async () => {
  const { exitCode, called } = await run()
  assert.equal(exitCode, 0)
  assert.deepEqual(called, [['', { options: {}, args: [], env: { HOME: '/home' } }]])
})

test('options reach their command, and the exit code is its own', async () => {
  assert.deepEqual((await run('--mode', 'sweep')).called[0]?.[1].options, { mode: 'sweep' })
  const { exitCode, called } = await run('counts', '--json')
  assert.equal(exitCode, 3)
  assert.deepEqual([called[0]?.[0], called[0]?.[1].options], ['counts', { json: true }])
})

test('commands can have several words, and arguments', async () => {
  assert.equal((await run('dead-letters', 'list')).called[0]?.[0], 'dead-letters list')
  const [name, { args }] = (await run('dead-letters', 'replay', '1', '2')).called[0] as [string, CommandInput]
  assert.deepEqual([name, args], ['dead-letters replay', ['1', '2']])
})

for (const [argv, why] of [
  [['--mood', 'sweep'], /Unknown option '--mood'/],
  [['--mode'], /Option '--mode <value>' argument missing/],
  [['count'], /there is no command "count"/],
  [['dead-letters'], /dead-letters needs one more word: dead-letters list, dead-letters replay/],
  [['dead'], /there is no command "dead"/],
  [['counts', 'all'], /there is no command "counts all"/],
  [['dead-letters', 'list', '--json'], /Unknown option '--json'/],
  [['fail', 'usage'], /how\?/],
] as const) {
  test(`${argv.join(' ')} is refused with the usage on the error output and exit code 64`, async () => {
    const { exitCode, out, error } = await run(...argv)
    assert.equal(exitCode, 64)
    assert.equal(out, '')
    assert.match(error, why)
    assert.match(error, /^poke: /)
    assert.match(
      error,
      /\nUsage: poke \[--mode sweep\|random\]\n {7}poke counts \[--json\]\n {7}poke totals --all \[--json\]\n {7}poke dead-letters list\n {7}poke dead-letters replay \[id…\]\n/,
    )
  })
}

test('--help shows commands, options and settings, and runs nothing', async () => {
  for (const argv of [['--help'], ['-h'], ['--mode', 'sweep', '--help']]) {
    const { exitCode, out, called } = await run(...argv)
    assert.equal(exitCode, 0)
    assert.deepEqual(called, [])
    for (const part of [
      'Counts Pokémon.',
      'poke dead-letters list',
      '--mode sweep|random',
      'How.',
      'HTTP_PORT',
      'The port. [8]',
      'Nothing.\n',
    ]) {
      assert.ok(out.includes(part), `"${part}" is missing in:\n${out}`)
    }
  }
})

test('an option of several commands is listed once in the general help', async () => {
  assert.equal((await run('--help')).out.split('As JSON.').length, 2)
})

test('--help after a command shows only this command', async () => {
  const { exitCode, out, called } = await run('counts', '--help')
  assert.deepEqual([exitCode, called], [0, []])
  assert.equal(
    out,
    'Shows counts.\n\nUsage: poke counts [--json]\n\nOptions:\n  --json  As JSON.\n\npoke --help shows all commands and the settings.\n',
  )
  assert.equal(
    (await run('dead-letters', 'replay', '-h')).out,
    'Replays.\n\nUsage: poke dead-letters replay [id…]\n\npoke --help shows all commands and the settings.\n',
  )
})

test('--help after the first words of several commands shows these commands', async () => {
  const { exitCode, out, error, called } = await run('dead-letters', '--help')
  assert.deepEqual([exitCode, error, called], [0, '', []])
  assert.equal(
    out,
    'Usage: poke dead-letters list\n       poke dead-letters replay [id…]\n\n' +
      'Commands:\n  poke dead-letters list    Lists.\n  poke dead-letters replay  Replays.\n\n' +
      'Add --help to a command to see its options. poke --help shows all commands and the settings.\n',
  )
})

test('--version shows name and version', async () => {
  assert.deepEqual([(await run('--version')).exitCode, (await run('--version')).out], [0, 'poke 1.2.3\n'])
})

test('an expected error is printed as one message, and ends with its exit code', async () => {
  const { exitCode, error } = await run('fail', 'expected')
  assert.deepEqual([exitCode, error], [75, 'poke: the disk is full\n'])
})

test('a mistake in the program is printed with its stack, and ends with exit code 70', async () => {
  const { exitCode, error } = await run('fail', 'otherwise')
  assert.equal(exitCode, 70)
  assert.match(error, /^poke: a mistake in this program ends it: oh\nTypeError: oh\n {4}at /)
})
