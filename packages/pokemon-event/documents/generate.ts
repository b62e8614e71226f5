/** Generates the documents from the code. A test fails if the committed ones are out of date. */
import { writeFileSync } from 'node:fs'
import { asyncApiDocument } from './async-api.ts'
import { jsonSchemaDocument } from './json-schema.ts'

const documents = { 'asyncapi.json': asyncApiDocument(), 'pokemon-event.schema.json': jsonSchemaDocument() }
for (const [file, document] of Object.entries(documents)) {
  writeFileSync(new URL(`../${file}`, import.meta.url), `${JSON.stringify(document, null, 2)}\n`)
  console.log(`wrote ${file}`)
}
