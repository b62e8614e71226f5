/** `docs/rules.md`, the code and the tests agree: every cited rule is defined, with the failure that it prevents. */
import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { describe, test } from 'node:test'
import { projectFiles, read } from './project-files.ts'

const RULES = 'docs/rules.md'
/** `rule S1`, `rules C1, C2 and F5`, `Rules F1 to F5`. */
const CITATION = /\brules? ([A-Z]\d\b(?:(?:, and |, | and | to )[A-Z]\d\b)*)/gi
/** Where a comment goes on in its next line. */
const NEXT_LINE = /\s*\n\s*(?:\*|\/\/|--)?\s*/g

const sources = projectFiles().filter((path) => /\.(ts|js|sql|md|yaml)$/.test(path))
const isTest = (path: string) => /(^|\/)(test|testing|system-tests)\//.test(path)
const cited = new Map(sources.map((path) => [path, rulesCitedIn(read(path))]))
const defined = new Map(
  read(RULES)
    .split(/^### /m)
    .slice(1)
    .map((section) => [section.slice(0, 2), section]),
)

/** @returns the ids of the rules that a text cites */
function rulesCitedIn(text: string): Set<string> {
  const found = new Set<string>()
  for (const [, list = ''] of text.replace(NEXT_LINE, ' ').matchAll(CITATION)) {
    for (const [id] of list.matchAll(/[A-Z]\d/g)) found.add(id)
    for (const [, letter, first, last] of list.matchAll(/([A-Z])(\d) to [A-Z](\d)/g))
      for (let number = Number(first); number <= Number(last); number++) found.add(`${letter}${number}`)
  }
  return found
}

test('a citation is found in each form that the code uses', () => {
  assert.deepEqual([...rulesCitedIn('by the rules C1, C2, S1\n * and F5. (rule D2)')].sort(), ['C1', 'C2', 'D2', 'F5', 'S1'])
  assert.deepEqual([...rulesCitedIn('rules F1 to F3, S2')].sort(), ['F1', 'F2', 'F3', 'S2'])
})

test('every rule that is cited anywhere is defined', () => {
  const undefinedOnes = [...cited].flatMap(([path, rules]) =>
    [...rules].filter((id) => !defined.has(id)).map((id) => `${path} cites rule ${id}`),
  )
  assert.deepEqual(undefinedOnes, [])
})

test('the contract states the same rules for producers and consumers', () => {
  const stated = [...read('docs/contract.md').matchAll(/^- \*\*([A-Z]\d)\*\*/gm)].map(([, id]) => id as string)
  assert.deepEqual(
    stated.filter((id) => !defined.has(id)),
    [],
  )
})

for (const [id, section] of defined)
  describe(`rule ${id}`, () => {
    const linked = (label: string) => {
      const line = section.split('\n').find((text) => text.startsWith(`*${label}*`)) ?? ''
      return [...line.matchAll(/\]\(([^)#]+)\)/g)].map(([, path]) => posix.join('docs', path as string))
    }

    test('is cited by a test, and by code that keeps it', () => {
      const citing = [...cited].filter(([path, rules]) => !path.startsWith('docs/') && rules.has(id)).map(([path]) => path)
      assert.ok(citing.some(isTest), `no test cites rule ${id}`)
      assert.ok(
        citing.some((path) => !isTest(path)),
        `no code cites rule ${id}`,
      )
    })

    test('says what it prevents, and links to files that cite it', () => {
      assert.match(section, /^\*Prevents:\*/m)
      const [code, tests] = [linked('Held in'), linked('Tested in')]
      assert.ok(code.length > 0 && tests.length > 0, `rule ${id} has no line "*Held in*" or "*Tested in*" with links`)
      const wrong = [...code, ...tests].filter((path) => !cited.get(path)?.has(id))
      assert.deepEqual(wrong, [], `these files are linked from rule ${id}, and do not cite it or do not exist`)
      assert.deepEqual([code.filter(isTest), tests.filter((path) => !isTest(path))], [[], []])
    })
  })
