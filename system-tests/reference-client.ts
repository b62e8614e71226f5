/** Runs small programs that use the reference client, Kafka's own Java client, against the broker of a test. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const SOURCES = fileURLToPath(new URL('java', import.meta.url))

export class ReferenceClient {
  readonly #classPath: string
  readonly #folder: string

  private constructor(jars: string, folder: string) {
    this.#classPath = [jars, folder].join(delimiter)
    this.#folder = folder
  }

  /**
   * Compiles a program of the folder `java`.
   * @param jars the class path of a broker that runs from its jars
   */
  static async compile(jars: string, program: string): Promise<ReferenceClient> {
    const folder = await mkdtemp(join(tmpdir(), 'reference-client-'))
    await run('javac', ['-cp', jars, '-d', folder, join(SOURCES, `${program}.java`)])
    return new ReferenceClient(jars, folder)
  }

  /** @returns the lines that it prints */
  async run(program: string, ...args: string[]): Promise<string[]> {
    const { stdout } = await run('java', ['-XX:TieredStopAtLevel=1', '-Xmx256m', '-cp', this.#classPath, program, ...args], {
      maxBuffer: 1 << 28,
    })
    return stdout.split('\n').filter((line) => line !== '')
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true })
  }
}
