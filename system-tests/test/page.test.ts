/** The page in a real Chromium, served by a real consumer that counts a real topic. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Kafka, startKafka } from '@poke-api-pipeline/dev'
import { holdConnections } from '@poke-api-pipeline/service-kit/testing'
import type { AxeResults } from 'axe-core'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { launchBrowser } from '../browser.ts'
import { busyness } from '../busyness.ts'
import { ConsumerProcess } from '../consumer-process.ts'
import { removeDeadMembers } from '../dead-members.ts'
import { EventFeed } from '../event-feed.ts'

const TOPIC = 'poke-topic'
const DESKTOP = { viewport: { width: 1360, height: 900 } }
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }

type Counts = Record<string, number>

describe('the page', { timeout: 300_000 }, () => {
  let dir: string
  let kafka: Kafka
  let feed: EventFeed
  let consumer: ConsumerProcess
  let browser: Browser

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'poke-page-'))
    kafka = await startKafka({ dir: join(dir, 'kafka') })
    feed = await EventFeed.create({ brokers: kafka.brokers, topic: TOPIC, partitions: 3 })
    await feed.send(500)
    await feed.sendGarbage('{"id": "pika')
    consumer = await ConsumerProcess.start({ brokers: kafka.brokers, topic: TOPIC, dir })
    browser = await launchBrowser()
  })

  after(async () => {
    await browser?.close()
    await consumer?.end('SIGKILL')
    await feed?.close()
    await kafka?.kill()
    await rm(dir, { recursive: true, force: true })
  })

  interface OpenPage {
    readonly page: Page
    /** Console errors, uncaught errors, violations of the security policy, requests to other hosts. */
    readonly faults: string[]
    counts(): Promise<Counts>
  }

  async function open(options: BrowserContextOptions, use: (opened: OpenPage) => Promise<void>): Promise<void> {
    const context = await browser.newContext(options)
    const faults: string[] = []
    try {
      const page = await context.newPage()
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') faults.push(`console: ${message.text()}`)
      })
      page.on('pageerror', (error) => faults.push(`uncaught: ${error.stack}`))
      page.on('request', (request) => {
        if (!request.url().startsWith(consumer.url)) faults.push(`request: ${request.url()}`)
      })
      await page.exposeFunction('reportViolation', (violation: string) => faults.push(`policy: ${violation}`))
      await page.addInitScript(
        `addEventListener('securitypolicyviolation', (event) => reportViolation(event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample))`,
      )
      await page.goto(consumer.url)
      await page.waitForSelector('#counts tr', { state: 'attached' })
      const counts = () =>
        page.$$eval('#counts tr', (rows) =>
          Object.fromEntries(
            rows.map((row) => [row.children[1]?.textContent ?? '', Number(row.children[2]?.textContent?.replaceAll(',', ''))]),
          ),
        )
      await use({ page, faults, counts })
    } finally {
      await context.close()
    }
  }

  async function eventually<T>(what: string, attempt: () => Promise<T | null | false | undefined>, ms = 60_000): Promise<T> {
    const deadline = performance.now() + ms
    for (;;) {
      const result = await attempt()
      if (result !== null && result !== false && result !== undefined) return result
      assert.ok(performance.now() < deadline, `${what}: not within ${ms} ms; the consumer said:\n${consumer.output}`)
      await sleep(50)
    }
  }

  async function everyStreamIsTaken(): Promise<boolean> {
    const asked = new AbortController()
    const { body } = await fetch(`${consumer.url}/api/events`, { signal: asked.signal })
    const first = await body?.getReader().read()
    asked.abort()
    return new TextDecoder().decode(first?.value).includes('event: full')
  }

  const published = () => eventually('type-counts.json', () => consumer.published())
  const isState = (page: Page, state: string) => page.locator(`#connection[data-state="${state}"]`).count()

  test('while others use every stream, it updates every five seconds and says why; it is live again once they have gone', async () => {
    const text = 'GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n'
    const held = holdConnections({ port: Number(new URL(consumer.url).port), from: '127.0.0.1', count: 300, text, again: true })
    try {
      await eventually('every stream is taken', everyStreamIsTaken)
      await open(DESKTOP, async ({ page, faults, counts }) => {
        await eventually('says so', async () => (await page.textContent('#connection-text')) === 'every 5 s')
        await eventually('says why', async () => (await page.textContent('body'))?.includes('Too many pages are open'))
        const before = JSON.stringify(await published())
        await feed.send(50)
        const then = await eventually('counted', async () => {
          const file = await published()
          return JSON.stringify(file) !== before && file
        })
        await eventually('follows', async () => reaches(await counts(), then))
        assert.equal(await isState(page, 'live'), 1)
        await held[Symbol.asyncDispose]()
        await eventually('is live', async () => (await page.textContent('#connection-text')) === 'live')
        await eventually('no word of it', async () => !(await page.textContent('body'))?.includes('Too many pages'))
        assert.deepEqual(faults, [])
      })
    } finally {
      await held[Symbol.asyncDispose]()
    }
  })

  test('shows the counts of type-counts.json: at most a second old while records arrive, and equal when they stop', async () => {
    await open(DESKTOP, async ({ page, faults, counts }) => {
      const flowing = new AbortController()
      const flow = feed.flow(flowing.signal)
      try {
        for (let round = 0; round < 10; round++) {
          const then = await published()
          // A second for the file, and the time that a snapshot needs to reach the screen.
          const seen = await eventually('the page follows', async () => reaches(await counts(), then), 2000)
          await eventually('the file follows', async () => reaches(await published(), seen), 2000)
        }
      } finally {
        flowing.abort()
        await flow
      }
      await eventually('everything that was sent is counted', async () => {
        const text = await page.textContent('#counted')
        return Number(text?.replaceAll(',', '')) === feed.sent
      })
      await eventually('the same counts', async () => same(await counts(), await published()))
      assert.match((await page.textContent('#origin')) ?? '', /bundled Pokédex/)
      assert.match((await page.textContent('#lag')) ?? '', /^0$/)
      assert.equal(await page.locator('#partitions tr').count(), 3)
      assert.ok((await page.locator('#feed li').count()) > 0)
      assert.equal(await page.textContent('#letters-total'), '1')
      await eventually('the dead letter', async () => (await page.textContent('#letters'))?.includes('{"id": "pika'))
      assert.deepEqual(faults, [])
    })
  })

  test('reconnects within five seconds after a killed consumer was started again, and no count goes back', async () => {
    await open(DESKTOP, async ({ page, faults, counts }) => {
      await page.evaluate(`window.figures = []
        new MutationObserver(() => figures.push(document.getElementById('counted').textContent))
          .observe(document.getElementById('counted'), { childList: true, characterData: true, subtree: true })`)
      await consumer.end('SIGKILL')
      await removeDeadMembers(kafka.brokers, 'poke-api-consumer')
      await eventually('the page says so', async () => (await isState(page, 'lost')) === 1)
      assert.equal(await page.textContent('#connection'), 'reconnecting…')
      await feed.send(50)
      await consumer.restart()
      const back = performance.now()
      await eventually('the page is live again', async () => (await isState(page, 'live')) === 1)
      const took = (performance.now() - back) / busyness()
      assert.ok(took < 5000, `${took} ms`)
      await eventually('the same counts', async () => Number((await page.textContent('#counted'))?.replaceAll(',', '')) === feed.sent)
      await eventually('the same counts', async () => same(await counts(), await published()))
      const figures = (await page.evaluate<string[]>('figures')).map((figure) => Number(figure.replaceAll(',', '')))
      assert.ok(figures.length > 0)
      assert.deepEqual(
        figures,
        figures.toSorted((a, b) => a - b),
      )
      // A server that did not answer is an error on the console, as it should be.
      assert.deepEqual(
        faults.filter(
          (fault) =>
            !fault.includes('ERR_CONNECTION') && !fault.includes('ERR_INCOMPLETE_CHUNKED') && !fault.includes('ERR_EMPTY_RESPONSE'),
        ),
        [],
      )
    })
  })

  test('a hidden tab closes its connection, and opens it again when it is shown', async () => {
    await open(DESKTOP, async ({ page }) => {
      const hide = (hidden: boolean) =>
        page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true })
          document.dispatchEvent(new Event('visibilitychange'))`)
      await hide(true)
      await eventually('paused', async () => (await isState(page, 'paused')) === 1)
      await hide(false)
      await eventually('live', async () => (await isState(page, 'live')) === 1)
    })
  })

  test('the tooltip is drawn, and hovering violates no policy', async () => {
    await open({ ...DESKTOP, reducedMotion: 'reduce' }, async ({ page, faults }) => {
      await page.waitForSelector('#race canvas')
      const box = await page.locator('#race').boundingBox()
      assert.ok(box !== null)
      const bars = { clip: { ...box, height: 200 } }
      const before = await page.screenshot(bars)
      for (let y = 15; y < bars.clip.height; y += 31) await page.mouse.move(box.x + 150, box.y + y, { steps: 3 })
      await eventually('the tooltip', async () => !(await page.screenshot(bars)).equals(before))
      assert.deepEqual(faults, [])
    })
  })

  const looks = {
    light: { ...DESKTOP, colorScheme: 'light' },
    dark: { ...DESKTOP, colorScheme: 'dark' },
    phone: { ...PHONE, colorScheme: 'light' },
    'phone, dark': { ...PHONE, colorScheme: 'dark' },
  } as const
  for (const [look, options] of Object.entries(looks)) {
    test(`has no violation of the accessibility rules: ${look}`, async () => {
      // Without motion, so that no colour in the middle of an animation is measured.
      await open({ ...options, reducedMotion: 'reduce' }, async ({ page, faults }) => {
        await page.evaluate(await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'))
        for (const view of ['chart', 'table']) {
          if (view === 'table') await page.click('#view')
          const { violations } = await page.evaluate<AxeResults>('axe.run()')
          assert.deepEqual(
            violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ html }) => html).join(' ')}`),
            [],
            view,
          )
        }
        const [wide, visible] = await page.evaluate<number[]>(
          '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
        )
        assert.ok((wide ?? 0) <= (visible ?? 0), `${wide} px are wider than the screen's ${visible}`)
        assert.deepEqual(faults, [])
      })
    })
  }

  test('everything can be reached by keyboard', async () => {
    await open(DESKTOP, async ({ page }) => {
      await page.keyboard.press('Tab')
      assert.equal(await page.evaluate('document.activeElement?.className'), 'skip')
      await page.keyboard.press('Enter')
      await page.keyboard.press('Tab')
      assert.equal(await page.evaluate('document.activeElement?.id'), 'view')
      await page.keyboard.press('Enter')
      assert.equal(await page.locator('#table-view caption').isVisible(), true)
      assert.equal(await page.locator('#race').isVisible(), false)
      await page.keyboard.press('Space')
      assert.equal(await page.locator('#race').isVisible(), true)
      await page.keyboard.press('Tab')
      assert.equal(await page.evaluate('document.activeElement?.textContent'), 'type counts')
    })
  })

  test('does not move if the visitor prefers reduced motion', async () => {
    await open({ ...DESKTOP, reducedMotion: 'reduce' }, async ({ page }) => {
      await feed.send(20)
      await eventually('counted', async () => Number((await page.textContent('#counted'))?.replaceAll(',', '')) === feed.sent)
      assert.equal(await page.evaluate('document.getAnimations().length'), 0)
    })
  })

  /** For people to look at: `SCREENSHOTS=folder`. */
  test('screenshots', { skip: process.env.SCREENSHOTS === undefined }, async () => {
    const folder = process.env.SCREENSHOTS ?? ''
    await mkdir(folder, { recursive: true })
    for (const [look, options] of Object.entries(looks)) {
      // The picture is taken when the bars have stopped moving.
      await open({ ...options, reducedMotion: 'reduce' }, async ({ page }) => {
        const flowing = new AbortController()
        const flow = feed.flow(flowing.signal, { events: 2, pause: 200 })
        try {
          await eventually('a full list', async () => (await page.locator('#feed li').count()) === 8)
          const spark = page.locator('#spark-line')
          await eventually('a rate to look at', async () => ((await spark.getAttribute('d'))?.split('L').length ?? 0) > 20, 60_000)
          await page.screenshot({ path: join(folder, `page-${look.replace(', ', '-')}.png`), fullPage: look.startsWith('phone') })
        } finally {
          flowing.abort()
          await flow
        }
      })
    }
  })
})

/** @returns the first counts if none of them is below the second ones */
function reaches(counts: Counts, atLeast: Counts): Counts | null {
  return Object.entries(atLeast).every(([type, count]) => (counts[type] ?? 0) >= count) ? counts : null
}

function same(a: Counts, b: Counts): boolean {
  return JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())
}
