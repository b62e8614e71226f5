/**
 * Makes the package that others install, around `npm pack`: Node refuses TypeScript below node_modules, and the other packages of this
 * repository are not published. `prepack` compiles the sources, and the modules of the other packages that they import, into `dist`, and puts
 * a package.json there that names them. `postpack` puts the repository's package.json back.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, globSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'

const SCOPE = '@poke-api-pipeline/'
const here = import.meta.dirname
const dist = join(here, 'dist')
const manifest = join(here, 'package.json')
const licence = join(here, 'LICENSE')
/** The repository's package.json while the package's own is in its place. */
const kept = join(here, 'package.json.kept')

if (process.argv[2] === 'before') {
  // An earlier run may have been interrupted.
  restore()
  rmSync(dist, { recursive: true, force: true })
  compile()
  copyFileSync(join(here, '..', '..', 'LICENSE'), licence)
  const packed = packedManifest(JSON.parse(readFileSync(manifest, 'utf8')))
  renameSync(manifest, kept)
  writeFileSync(manifest, `${JSON.stringify(packed, null, 2)}\n`)
} else {
  restore()
  rmSync(licence)
  rmSync(dist, { recursive: true })
}

function restore(): void {
  if (existsSync(kept)) renameSync(kept, manifest)
}

function compile(): void {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')
  execFileSync(process.execPath, [tsc, '-p', join(here, 'tsconfig.pack.json')], { stdio: 'inherit' })
  for (const file of globSync('**/*.{js,d.ts}', { cwd: dist })) {
    const path = join(dist, file)
    writeFileSync(
      path,
      readFileSync(path, 'utf8').replaceAll(/(['"])@poke-api-pipeline\/([^'"/]+)\/([^'"]+)\1/g, (_, quote, name, module) => {
        const target = relative(dirname(path), join(dist, name, 'src', `${module}.js`)).replaceAll('\\', '/')
        return `${quote}${target.startsWith('.') ? target : `./${target}`}${quote}`
      }),
    )
  }
}

/** Of its dependencies, those that are not compiled into it; it may be installed, which the repository's may not. */
function packedManifest({ private: _, devDependencies: __, scripts: ___, ...rest }: Record<string, unknown>): object {
  const dependencies = Object.entries(rest.dependencies as Record<string, string>).filter(([name]) => !name.startsWith(SCOPE))
  const types = './dist/kafka-reader/src/index.d.ts'
  return { ...rest, exports: { '.': { types, default: types.replace('.d.ts', '.js') } }, dependencies: Object.fromEntries(dependencies) }
}
