/** Runs a service's command line as a process of its own. */
import { ignoreClosedOutput } from './closed-output.ts'
import { type CommandLine, runCommandLine } from './command-line.ts'
import { endProcess } from './end-process.ts'
import { outputWritten } from './written-output.ts'

/** Runs the command that this process was started with, and ends the process when all of its output was read. */
export async function runProgram(line: CommandLine): Promise<never> {
  ignoreClosedOutput()
  const exitCode = await runCommandLine(line, process.argv.slice(2), process.env, {
    out: (text) => void process.stdout.write(text),
    error: (text) => void process.stderr.write(text),
  })
  await outputWritten()
  return await endProcess(exitCode)
}
