/** Finds environment variables that are probably misspelt settings, so that no setting is ignored silently. */

/** The largest edit distance between a setting and its misspelling. */
const LARGEST_DISTANCE = 2

/**
 * @param settings the names of all settings
 * @param given the names of all environment variables
 * @returns each suspicious variable with the setting that was probably meant
 */
export function misspelt(settings: readonly string[], given: readonly string[]): [given: string, meant: string][] {
  const known = new Set(settings)
  const found: [string, string][] = []
  for (const name of given) {
    if (known.has(name)) continue
    const meant = nearest(name.toUpperCase(), settings)
    // If the setting itself is set too, this is another variable.
    if (meant !== null && !given.includes(meant)) found.push([name, meant])
  }
  return found
}

function nearest(name: string, settings: readonly string[]): string | null {
  let best: string | null = null
  let least = Math.min(LARGEST_DISTANCE, Math.floor(name.length / 4)) + 1
  for (const setting of settings) {
    const distance = editDistance(name, setting)
    if (distance < least) {
      best = setting
      least = distance
    }
  }
  return best ?? settings.find((setting) => leavesOutWords(name, setting)) ?? null
}

/** Whether `name` is `setting` without some of its words, as POKE_API_RATE is POKE_API_MAX_RATE without MAX; at least two words are left. */
function leavesOutWords(name: string, setting: string): boolean {
  const words = name.split('_')
  if (words.length < 2) return false
  let at = 0
  for (const word of setting.split('_')) if (word === words[at]) at++
  return at === words.length
}

/** How many letters are inserted, removed, replaced or swapped with their neighbour: the "optimal string alignment" distance. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > LARGEST_DISTANCE) return LARGEST_DISTANCE + 1
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let cost = Math.min(last[j - 1]! + same, last[j]! + 1, row[j - 1]! + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, beforeLast[j - 2]! + 1)
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}
