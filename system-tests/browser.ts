/** A real Chromium: the one that CHROMIUM_PATH names, else an installed one, else the one that npm brought. */
import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

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

/** Without the arguments that it comes with: they are for functions in a cloud, one process that dies with a page, and no web security. */
async function packed(): Promise<string> {
  const { default: chromiumPackage } = await import('@sparticuz/chromium')
  return await chromiumPackage.executablePath()
}
