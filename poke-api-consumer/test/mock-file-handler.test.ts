/** The file in memory behaves as the real one. */

import { typeCountsDocument } from '../src/infrastructure/file-handling/type-counts-file.ts'
import { testTypeCountsSink } from './contract/type-counts-sink.ts'
import { MockFileHandler } from './mock-file-handler.ts'

testTypeCountsSink('the file in memory', async () => {
  const sink = new MockFileHandler()
  return {
    sink,
    published: () => (sink.content === null ? null : typeCountsDocument(sink.content)),
    publishElsewhere: async (counts) => sink.overwrite(counts),
    breakIt: async () => void sink.failures.push(new Error('read-only file system')),
    mendIt: async () => {},
  }
})
