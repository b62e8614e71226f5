/** The project's own files, for tests that compare documents with code. */
import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/** Folders of the project whose files are its own; what is installed or made in them is left out. */
const FOLDERS = ['packages', 'poke-api-producer', 'poke-api-consumer', 'dev', 'system-tests', 'benchmarks', 'deploy', 'docs']
const INSTALLED = /(^|\/)(node_modules|dist|\.cache)(\/|$)/

/** Every file of the project, as a path from its folder, with slashes. */
export function projectFiles(): string[] {
  const found = globSync(
    [...FOLDERS.map((folder) => `${folder}/**/*.*`), '*.*', '.env.example', '.ci/run', 'Makefile', 'LICENSE', '**/Dockerfile'],
    {
      cwd: PROJECT,
      exclude: (path) => INSTALLED.test(path),
    },
  )
  return found.map((path) => path.replaceAll('\\', '/')).filter((path) => !INSTALLED.test(path))
}

/** @param path from the project's folder */
export function read(path: string): string {
  return readFileSync(`${PROJECT}/${path}`, 'utf8')
}

/** The address of a heading in a document, as GitHub makes it. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(' ', '-')
}
