/** The real file: the contract suite, and cases that only files have: durability, temporary files, folders, missing permissions. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import fs from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, type TestContext, test } from 'node:test'
import { OutputFileError } from '../src/errors.ts'
import { type Files, TypeCountsFile } from '../src/infrastructure/file-handling/type-counts-file.ts'
import { testTypeCountsSink } from './contract/type-counts-sink.ts'

async function newFolder(t: TestContext): Promise<string> {
  const folder = await fs.mkdtemp(join(tmpdir(), 'type-counts-file-'))
  t.after(() => fs.rm(folder, { recursive: true, force: true }))
  return folder
}

/** Calls `work` until it does not reject. */
async function until(call: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await call()
    } catch {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

testTypeCountsSink('the file', async (t) => {
  const folder = await newFolder(t)
  const path = join(folder, 'out', 'type-counts.json')
  return {
    sink: new TypeCountsFile(path),
    published: async () => (existsSync(path) ? await fs.readFile(path, 'utf8') : null),
    publishElsewhere: (counts) => new TypeCountsFile(path).write(counts),
    // Root can write everywhere, but cannot create a folder in the place of a file.
    breakIt: async () => {
      await fs.rename(dirname(path), join(folder, 'away'))
      await fs.writeFile(dirname(path), '')
    },
    mendIt: async () => {
      await fs.rm(dirname(path))
      await fs.rename(join(folder, 'away'), dirname(path))
    },
  }
})

describe('the file on disk', () => {
  test('is written to a temporary file, synced and renamed', async (t) => {
    const folder = await newFolder(t)
    const path = join(folder, 'type-counts.json')
    const steps: string[] = []
    const files: Files = {
      ...fs,
      open: async (opened, ...rest) => {
        const handle = await fs.open(opened, ...rest)
        const name = String(opened).startsWith(join(folder, '.type-counts.json.tmp-')) ? 'temporary' : basename(String(opened))
        steps.push(`open ${name}`)
        for (const method of ['writeFile', 'sync', 'close'] as const) {
          const original = handle[method] as (...args: unknown[]) => Promise<void>
          handle[method] = (...args: unknown[]) => {
            steps.push(`${method === 'writeFile' ? 'write' : method} ${name}`)
            return original.apply(handle, args)
          }
        }
        return handle
      },
      rename: async (from, to) => {
        assert.equal(dirname(String(from)), folder, 'a rename between disks is not atomic')
        steps.push(`rename temporary ${basename(String(to))}`)
        await fs.rename(from, to)
      },
    }
    await new TypeCountsFile(path, { files }).write(new Map([['bug', 1]]))
    assert.deepEqual(steps, ['open temporary', 'write temporary', 'sync temporary', 'close temporary', 'rename temporary type-counts.json'])
  })

  test('a reader always sees one complete document', async (t) => {
    const path = join(await newFolder(t), 'type-counts.json')
    const sink = new TypeCountsFile(path)
    await sink.write(new Map([['bug', 0]]))
    let writing = true
    const written = (async () => {
      for (let n = 1; n <= 200; n++) await sink.write(new Map(Array.from({ length: n }, (_, i) => [`type-${i}`, n])))
      writing = false
    })()
    while (writing) {
      const { types } = JSON.parse(await fs.readFile(path, 'utf8')) as { types: Record<string, number> }
      const counts = Object.values(types)
      assert.ok(
        counts.every((count) => count === counts.length || count === 0),
        'counts of two states in one document',
      )
    }
    await written
  })

  test('no temporary file is left in the folder, not even after a failure', async (t) => {
    const folder = await newFolder(t)
    const path = join(folder, 'type-counts.json')
    const files: Files = { ...fs, rename: () => Promise.reject(Object.assign(new Error('disk on fire'), { code: 'EIO' })) }
    await assert.rejects(new TypeCountsFile(path, { files }).write(new Map()), /disk on fire/)
    assert.deepEqual(await fs.readdir(folder), [])
    await new TypeCountsFile(path).write(new Map())
    assert.deepEqual(await fs.readdir(folder), ['type-counts.json'])
  })

  test('the first write removes old temporary files of killed writers, but not new ones, which another instance may be writing', async (t) => {
    const folder = await newFolder(t)
    const old = '.type-counts.json.tmp-0011223344556677'
    const young = '.type-counts.json.tmp-8899aabbccddeeff'
    const foreign = 'type-counts.json.tmp'
    for (const name of [old, young, foreign]) await fs.writeFile(join(folder, name), '{"ty')
    await fs.utimes(join(folder, old), new Date(0), new Date(0))
    await fs.utimes(join(folder, foreign), new Date(0), new Date(0))
    await new TypeCountsFile(join(folder, 'type-counts.json')).write(new Map())
    assert.deepEqual((await fs.readdir(folder)).sort(), [young, 'type-counts.json', foreign].sort())
  })

  test('its folder is created, and created again after it was removed', async (t) => {
    const folder = await newFolder(t)
    const path = join(folder, 'a', 'b', 'type-counts.json')
    const sink = new TypeCountsFile(path)
    await sink.write(new Map([['bug', 1]]))
    await fs.rm(join(folder, 'a'), { recursive: true })
    assert.equal(await sink.matches(new Map([['bug', 1]])), false)
    await sink.write(new Map([['bug', 1]]))
    assert.equal(await sink.matches(new Map([['bug', 1]])), true)
  })

  test('two instances that write at the same time leave a complete document of one of them', async (t) => {
    const path = join(await newFolder(t), 'type-counts.json')
    const [a, b] = [new TypeCountsFile(path), new TypeCountsFile(path)]
    const [ours, theirs] = [new Map([['bug', 1]]), new Map([['fire', 22]])]
    for (let i = 0; i < 50; i++) await Promise.all([a.write(ours), b.write(theirs)])
    assert.ok((await a.matches(ours)) || (await a.matches(theirs)))
  })

  const unix = { skip: process.platform === 'win32' && 'no pipes, modes and owners here' }

  test('an object that is not a file is refused at once and not changed', unix, async (t) => {
    const folder = await newFolder(t)
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    const socket = join(folder, 'socket')
    const server = createServer().listen(socket)
    await once(server, 'listening')
    t.after(() => server.close())
    await fs.symlink(pipe, join(folder, 'link'))
    const cases: [path: string, what: string][] = [
      [pipe, 'a named pipe'],
      [socket, 'a socket'],
      [folder, 'a folder'],
      ['/dev/null', 'a device'],
      [join(folder, 'link'), 'a named pipe'],
    ]
    for (const [path, what] of cases) {
      const before = await fs.lstat(path)
      const sink = new TypeCountsFile(path)
      const refusal = { kind: 'not-a-file', exitCode: 78, message: new RegExp(`^OUTPUT_FILE ${path} is ${what}, and was not replaced`) }
      await assert.rejects(sink.check(), refusal)
      await assert.rejects(sink.write(new Map()), refusal)
      if (what !== 'a folder') assert.equal(await sink.matches(new Map()), false)
      const { ino, mode } = await fs.lstat(path)
      assert.deepEqual([ino, mode], [before.ino, before.mode])
    }
  })

  test('a database is refused under any path, and not changed', async (t) => {
    const folder = await newFolder(t)
    const database = join(folder, 'type-counts.db')
    const open = new DatabaseSync(database)
    open.exec('CREATE TABLE a (b)')
    open.close()
    const before = await fs.readFile(database)
    await fs.link(database, join(folder, 'other-name'))
    for (const path of [database, join(folder, 'other-name')]) {
      const refusal = {
        kind: 'not-a-file',
        exitCode: 78,
        message: /^OUTPUT_FILE .* is a database \(SQLite\), and was not replaced: name another file/,
      }
      await assert.rejects(new TypeCountsFile(path).check(), refusal)
    }
    assert.deepEqual(await fs.readFile(database), before)
  })

  test('can have the longest name that the disk allows', async (t) => {
    for (const name of ['a'.repeat(255), 'ü'.repeat(127), '🐛'.repeat(63)]) {
      const path = join(await newFolder(t), name)
      await new TypeCountsFile(path).write(new Map([['bug', 1]]))
      assert.equal(await fs.readFile(path, 'utf8'), '{"types":{"bug":1}}\n')
    }
  })

  test('a file, a missing file, and a path that cannot be examined yet are accepted', async (t) => {
    const folder = await newFolder(t)
    await fs.writeFile(join(folder, 'file'), '')
    for (const path of ['file', 'none', 'no/folder', 'file/below']) await new TypeCountsFile(join(folder, path)).check()
  })

  test('a symbolic link stays, and the file that it points to is replaced in its own folder', unix, async (t) => {
    const folder = await newFolder(t)
    await fs.mkdir(join(folder, 'real/deep'), { recursive: true })
    await fs.symlink('real/deep', join(folder, 'way'))
    // `..` behind a link to a folder is the parent of that folder, and not the folder of the link.
    await fs.symlink('way/../type-counts.json', join(folder, 'relative'))
    await fs.symlink(join(folder, 'relative'), join(folder, 'link'))
    const sink = new TypeCountsFile(join(folder, 'link'))
    for (const counts of [new Map([['bug', 1]]), new Map([['bug', 2]])]) {
      await sink.write(counts)
      assert.equal(await fs.readFile(join(folder, 'real/type-counts.json'), 'utf8'), `{"types":{"bug":${counts.get('bug')}}}\n`)
      assert.equal(await sink.matches(counts), true)
    }
    for (const link of ['link', 'relative', 'way']) assert.ok((await fs.lstat(join(folder, link))).isSymbolicLink())
    assert.deepEqual((await fs.readdir(folder)).sort(), ['link', 'real', 'relative', 'way'])
    assert.deepEqual((await fs.readdir(join(folder, 'real'))).sort(), ['deep', 'type-counts.json'])
  })

  test('links in a circle are reported', unix, async (t) => {
    const folder = await newFolder(t)
    await fs.symlink('b', join(folder, 'a'))
    await fs.symlink('a', join(folder, 'b'))
    await assert.rejects(new TypeCountsFile(join(folder, 'a')).write(new Map()), /the counts cannot be written: .*symbolic links/)
  })

  test('the new file has the mode of the old one, and for root its owner', unix, async (t) => {
    const path = join(await newFolder(t), 'type-counts.json')
    const sink = new TypeCountsFile(path)
    await fs.writeFile(path, '')
    const isRoot = process.getuid?.() === 0
    for (const mode of [0o600, 0o640, 0o666, 0o664]) {
      if (isRoot) await fs.chown(path, 1234, 2345)
      await fs.chmod(path, mode)
      await sink.write(new Map([['bug', mode]]))
      const after = await fs.stat(path)
      assert.equal(after.mode & 0o7777, mode)
      if (isRoot) assert.deepEqual([after.uid, after.gid], [1234, 2345])
    }
  })

  test('a file that is mounted by itself cannot be replaced, which is reported', async (t) => {
    const folder = await newFolder(t)
    for (const code of ['EBUSY', 'EROFS']) {
      const files: Files = { ...fs, rename: () => Promise.reject(Object.assign(new Error('refused'), { code })) }
      await assert.rejects(new TypeCountsFile(join(folder, 'f'), { files }).write(new Map()), {
        kind: 'not-writable',
        message: /mount its folder instead; the service retries$/,
      })
    }
  })

  test('a disk that does not answer is reported, and no other write begins before it answers', async (t) => {
    const path = join(await newFolder(t), 'type-counts.json')
    const answer = Promise.withResolvers<void>()
    let opened = 0
    const files: Files = {
      ...fs,
      open: async (...args) => {
        opened++
        await answer.promise
        return await fs.open(...args)
      },
    }
    const file = new TypeCountsFile(path, { files, deadline: 20 })
    for (const call of [() => file.write(new Map([['bug', 1]])), () => file.write(new Map([['bug', 2]])), () => file.matches(new Map())]) {
      await assert.rejects(call, { kind: 'hangs', message: /type-counts\.json: the disk does not answer/ })
    }
    assert.equal(opened, 1)
    answer.resolve()
    while (!existsSync(path)) await new Promise((resolve) => setImmediate(resolve))
    await until(() => file.write(new Map([['bug', 2]])))
    assert.equal(await fs.readFile(path, 'utf8'), '{"types":{"bug":2}}\n')
  })

  test('errors name the path and the reason, and can be retried', async (t) => {
    const folder = await newFolder(t)
    await fs.writeFile(join(folder, 'file'), '')
    const cases: [path: string, message: RegExp][] = [
      [join(folder, 'file', 'type-counts.json'), /type-counts\.json: a part of its path is a file, not a folder/],
    ]
    for (const [path, message] of cases) {
      await assert.rejects(new TypeCountsFile(path).write(new Map()), (error) => {
        assert.ok(error instanceof OutputFileError)
        assert.match(error.message, message)
        assert.equal(error.retriable, true)
        return true
      })
    }
    await assert.rejects(new TypeCountsFile(folder).matches(new Map()), /cannot be read: .*a folder has this name/)
  })

  test('a folder without write permission is reported, and the file is written once there is permission', {
    skip: process.getuid?.() === 0 && 'root may write everywhere',
  }, async (t) => {
    const folder = await newFolder(t)
    const sink = new TypeCountsFile(join(folder, 'type-counts.json'))
    await fs.chmod(folder, 0o500)
    await assert.rejects(sink.write(new Map()), (error) => error instanceof OutputFileError && error.kind === 'not-writable')
    await fs.chmod(folder, 0o700)
    await sink.write(new Map())
    assert.equal(await sink.matches(new Map()), true)
  })

  test('every user can read it if the umask allows that', { skip: process.platform === 'win32' && 'no modes here' }, async (t) => {
    const path = join(await newFolder(t), 'type-counts.json')
    const umask = process.umask(0o022)
    await new TypeCountsFile(path).write(new Map())
    process.umask(umask)
    assert.equal((await fs.stat(path)).mode & 0o777, 0o644)
  })
})
