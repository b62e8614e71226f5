/** Measures how busy this machine is, for tests of durations that are promised on a machine of one's own. */

/** How many times its processor time something takes now, because other processes use the machine, too. */
export function busyness(): number {
  const used = process.cpuUsage()
  const began = performance.now()
  let elapsed = 0
  while (elapsed < 40) elapsed = performance.now() - began
  const { user, system } = process.cpuUsage(used)
  return Math.max(1, (elapsed * 1000) / (user + system))
}
