/** Files, links and headings that the documents name exist. */
import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { test } from 'node:test'
import { anchorOf, projectFiles, read } from './project-files.ts'

const files = projectFiles()
const folders = new Set(files.flatMap((path) => path.split('/').map((_, depth, parts) => parts.slice(0, depth).join('/'))))
const documents = files.filter((path) => path.endsWith('.md') && path !== 'benchmarks/RESULTS.md')
const exists = (path: string) => files.includes(path) || folders.has(path)

/** The text without fenced code, because examples name files that the reader has. */
const prose = (path: string) => read(path).replace(/^```[\s\S]*?^```/gm, '')

for (const document of documents)
  test(`${document} names files, links and headings that exist`, () => {
    const text = prose(document)
    const missing: string[] = []
    for (const [, link = ''] of text.matchAll(/(?:\]\(|src(?:set)?=")([^)\s"]+)/g)) {
      if (/^[a-z]+:/.test(link)) continue
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? document : posix.normalize(posix.join(posix.dirname(document), path)).replace(/\/$/, '')
      if (!exists(target)) missing.push(link)
      else if (anchor !== undefined && !headingsOf(target).includes(anchor)) missing.push(link)
    }
    for (const [, name = ''] of text.matchAll(/`([\w@./-]+\.(?:ts|sql))`/g))
      if (!files.some((path) => path === name || path.endsWith(`/${name}`))) missing.push(name)
    // The original's names are Python's. Tests are named without their ending.
    for (const [, path = ''] of text.matchAll(
      /`((?:packages|poke-api-producer|poke-api-consumer|dev|system-tests|benchmarks|deploy|docs)\/[^`\s*…]+)`/g,
    ))
      if (!/_|\.py$/.test(path) && !exists(path.replace(/\/$/, '')) && !exists(`${path}.test.ts`)) missing.push(path)
    assert.deepEqual([...new Set(missing)], [])
  })

test('the map and the README’s diagrams name classes, interfaces and members that exist', () => {
  const code = files.filter((path) => /\/src\/.*\.ts$/.test(path)).map(read)
  const named = [
    ...prose('docs/architecture.md').matchAll(/`([A-Z][a-z]\w+)(?:\.(#?\w+))?`/g),
    ...read('README.md').matchAll(/^ {2}participant \w+ as ((?:[A-Z][a-z]+){2,})\b()/gm),
  ]
  const missing = named.filter(
    ([, type, member]) =>
      !code.some((text) => new RegExp(`\\b(?:class|interface) ${type}\\b`).test(text) && (!member || text.includes(member))),
  )
  assert.ok(named.length > 8)
  assert.deepEqual(
    missing.map(([name]) => name),
    [],
  )
})

test('docs/guarantees.md names tests that exist', () => {
  const [, table = ''] = read('docs/guarantees.md').split(/^## /m)
  const named = [...table.matchAll(/`((?:faults\/|poke-api-\w+\/test\/)?[a-z-]+)`/g)].map(([, name]) => name as string)
  const tests = named.filter((name) => !['continue', 'stop', 'verify'].includes(name))
  const places = (name: string) => [`system-tests/test/${name}.test.ts`, `system-tests/${name}.test.ts`, `${name}.test.ts`]
  assert.ok(tests.length > 20)
  assert.deepEqual(
    tests.filter((name) => !places(name).some((path) => files.includes(path))),
    [],
  )
})

function headingsOf(document: string): string[] {
  return [...prose(document).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading as string))
}
