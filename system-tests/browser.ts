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
  const path = process.env.CHROMIUM_PATH ?? INSTALLED.find((file) => existsSync(file))
  if (path !== undefined) return chromium.launch({ executablePath: path })
  const { default: packed } = await import('@sparticuz/chromium')
  return chromium.launch({ executablePath: await packed.executablePath(), args: packed.args })
}
