/** The page in a folder of another server: a proxy removes the folder's name and passes the request on to the consumer. */
import assert from 'node:assert/strict'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { launchBrowser, until } from '../browser.ts'
import { startNginx, withoutNginx } from '../nginx.ts'
import { servePage } from '../page-server.ts'

test('the page works behind nginx, in a folder of its server', { skip: withoutNginx(), timeout: 120_000 }, async (t) => {
  const page = await serve(t)
  const nginx = await startNginx(`location /poke/ { proxy_pass ${page.url}/; }`)
  t.after(() => nginx.stop())
  const { status, headers } = await fetch(`${nginx.url}/poke`, { redirect: 'manual' })
  assert.equal(status, 301)
  assert.match(headers.get('location') ?? '', /\/poke\/$/)
  await assertWorks(t, `${nginx.url}/poke/`, page)
})

test('the page works behind any proxy, in a folder of any depth', { timeout: 120_000 }, async (t) => {
  const page = await serve(t)
  await assertWorks(t, `${await proxy(t, '/a/b/', page.url)}/a/b/`, page)
})

type Served = Awaited<ReturnType<typeof serve>>

async function serve(t: TestContext) {
  const page = await servePage({ counted: 2000, failing: true })
  t.after(() => page.close())
  return page
}

/** Checks that everything the page requests exists and is below the folder, that it follows the counts, and that its links work. */
async function assertWorks(t: TestContext, url: string, server: Served): Promise<void> {
  const browser = await launchBrowser()
  t.after(() => browser.close())
  const page = await browser.newPage({ reducedMotion: 'reduce' })
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(`uncaught: ${error.message}`))
  page.on('response', (response) => {
    if (!response.url().startsWith(url) || response.status() >= 400) faults.push(`${response.status()} ${response.url()}`)
  })
  await page.goto(url)
  await until(page, `document.getElementById('counted').textContent === '2,000'`)
  await page.waitForSelector('#letters li')
  await page.waitForSelector('#race canvas')
  server.show({ counted: 2001, failing: true })
  await until(page, `document.getElementById('counted').textContent === '2,001'`)
  assert.deepEqual(faults, [])
  const links = await page.$$eval('nav a', (nodes) => nodes.map((node) => (node as unknown as { href: string }).href))
  assert.equal(links.length, 5)
  for (const link of links) {
    assert.ok(link.startsWith(url), link)
    assert.equal((await fetch(link)).status, 200, link)
  }
  const description = `${url}api/openapi.json`
  const { servers, paths } = (await (await fetch(description)).json()) as { servers: { url: string }[]; paths: object }
  // As the OpenAPI specification says: the path is appended to the server's URL, which is relative to that of the description.
  const base = new URL(servers[0]?.url ?? '', description).href.replace(/\/$/, '')
  assert.ok('/api/partitions' in paths)
  assert.equal((await fetch(`${base}/api/partitions`)).status, 200)
}

/** Passes on requests below the folder, without its name; others are answered with 404. @returns its URL */
async function proxy(t: TestContext, folder: string, target: string): Promise<string> {
  const server = createServer((asked, answer) => {
    if (!asked.url?.startsWith(folder)) {
      answer.writeHead(404).end()
      return
    }
    const passed = request(`${target}/${asked.url.slice(folder.length)}`, { method: asked.method ?? 'GET' }, (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers)
      response.on('error', () => answer.destroy())
      response.pipe(answer)
    })
    passed.on('error', () => answer.destroy())
    answer.on('close', () => passed.destroy())
    passed.end()
  })
  server.listen(0, '127.0.0.1')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  await new Promise((resolve) => server.once('listening', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
