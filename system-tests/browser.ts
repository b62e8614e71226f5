/** A real Chromium: the one that CHROMIUM_PATH names, otherwise an installed one, otherwise the one of the npm package. */
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, chromium, type Page } from 'playwright-core'

const INSTALLED = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
]

export async function launchBrowser(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM_PATH ?? INSTALLED.find((file) => existsSync(file)) ?? (await packed())
  return await chromium.launch({ executablePath })
}

/**
 * Resolves when an expression is true in the page. (Playwright's own way evaluates text in the page, which the page's security policy forbids.)
 * @throws Error after half a minute
 */
export async function until(page: Page, expression: string): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!(await page.evaluate(expression))) {
    if (performance.now() > deadline) throw new Error(`In the page this was not true within 30 s: ${expression}`)
    await sleep(20)
  }
}

/** Without the default arguments of the package, which are for functions in a cloud: a single process and no web security. */
async function packed(): Promise<string> {
  const { default: chromiumPackage } = await import('@sparticuz/chromium')
  return await chromiumPackage.executablePath()
}
