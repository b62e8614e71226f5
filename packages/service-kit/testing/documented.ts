/** Compares a section of a document with what the code declares. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'

/**
 * Fails if the section differs from what the code declares. With UPDATE_DOCS=1 in the environment the document is corrected instead.
 * @param document a Markdown file
 * @param heading of the section, as `## Producer`; the section ends at the next heading of any level
 */
export function assertDocumented(document: URL, heading: string, declared: string): void {
  const text = readFileSync(document, 'utf8')
  const start = text.indexOf(`${heading}\n`)
  assert.notEqual(start, -1, `${document.pathname} has no section "${heading}"`)
  const from = start + heading.length + 1
  const next = text.indexOf('\n#', from)
  const to = next === -1 ? text.length : next
  const expected = `\n${declared}`
  if (process.env.UPDATE_DOCS === '1') writeFileSync(document, text.slice(0, from) + expected + text.slice(to))
  else
    assert.equal(
      text.slice(from, to),
      expected,
      `${document.pathname}, "${heading}", differs from what the code declares: run the tests with UPDATE_DOCS=1`,
    )
}
