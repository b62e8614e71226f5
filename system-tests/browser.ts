/** A real Chromium: the one that CHROMIUM_PATH names, otherwise an installed one, otherwise the one of the npm package. */
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, chromium, type Page } from 'playwright-core'
import { patience } from './fault-run.ts'

/** The longest wait for an expression to be true, in ms. */
const PATIENCE = patience(30_000)

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
 * @throws Error after PATIENCE
 */
export async function until(page: Page, expression: string): Promise<void> {
  const deadline = performance.now() + PATIENCE
  while (!(await page.evaluate(expression))) {
    if (performance.now() > deadline) throw new Error(`In the page this was not true within ${PATIENCE / 1000} s: ${expression}`)
    await sleep(20)
  }
}

/** Without the default arguments of the package, which are for functions in a cloud: a single process and no web security. */
async function packed(): Promise<string> {
  const { default: chromiumPackage } = await import('@sparticuz/chromium')
  return await chromiumPackage.executablePath()
}
