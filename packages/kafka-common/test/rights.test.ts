/** Which rights are missing, by the bits in answers of brokers, and the commands that grant them. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { missingOperations, missingRightsText, NOTHING_ALLOWED, principalOf } from '../src/rights.ts'

const bits = (...operations: number[]) => operations.reduce((sum, operation) => sum | (1 << operation), 0)

describe('operations', () => {
  test('without a bit are missing', () => {
    // Read, Describe, DescribeConfigs.
    assert.deepEqual(missingOperations(bits(3, 8, 10), ['Read', 'DescribeConfigs']), [])
    assert.deepEqual(missingOperations(bits(3, 8), ['Read', 'DescribeConfigs']), ['DescribeConfigs'])
    assert.deepEqual(missingOperations(NOTHING_ALLOWED, ['Create', 'Write']), ['Create', 'Write'])
  })

  test('are not missing if a broker does not tell what it allows', () => {
    for (const unsaid of [0, -2_147_483_648]) assert.deepEqual(missingOperations(unsaid, ['Read']), [])
  })
})

describe('the text', () => {
  test('names all missing rights, and one command that grants them', () => {
    const missing = [
      { resource: 'topic', name: 'poke-topic', operations: ['Read', 'DescribeConfigs'] },
      { resource: 'group', name: 'poke', operations: ['Read'] },
    ] as const
    assert.equal(
      missingRightsText(missing, principalOf('ash'), ['a:1', 'b:2']),
      'User:ash lacks Read and DescribeConfigs on topic poke-topic, Read on group poke: grant it with ' +
        'kafka-acls.sh --bootstrap-server a:1,b:2 --add --allow-principal User:ash --operation Read --operation DescribeConfigs --topic poke-topic && ' +
        'kafka-acls.sh --bootstrap-server a:1,b:2 --add --allow-principal User:ash --operation Read --group poke',
    )
    assert.match(missingRightsText(missing, principalOf(undefined), ['a:1']), /^User:ANONYMOUS lacks/)
  })

  test('quotes each name in the command, so that a shell reads it as one word', () => {
    const name = fc.string({
      unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
      minLength: 1,
      maxLength: 20,
    })
    fc.assert(
      fc.property(name, name, (user, group) => {
        const text = missingRightsText([{ resource: 'group', name: group, operations: ['Read'] }], principalOf(user), ['a:1'])
        const command = text.slice(text.indexOf('kafka-acls.sh') + 'kafka-acls.sh'.length)
        const words = execFileSync('/bin/sh', ['-c', `printf '%s\\n' ${command}`], { encoding: 'utf8' }).split('\n')
        assert.deepEqual(words, [
          ...['--bootstrap-server', 'a:1', '--add', '--allow-principal', `User:${user}`, '--operation', 'Read', '--group', group, ''],
        ])
      }),
      { numRuns: 50 },
    )
  })
})
