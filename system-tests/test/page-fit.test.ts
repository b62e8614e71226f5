/** The page on screens of every width, with no, some and very many records, with the longest names and with every kind of failure: all of it can be read. */
import assert from 'node:assert/strict'
import { mkdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { AxeResults } from 'axe-core'
import type { Browser, Page } from 'playwright-core'
import { launchBrowser, until } from '../browser.ts'
import { type Figures, type PageServer, servePage } from '../page-server.ts'

const WIDTHS = [320, 390, 1280, 1920]
const SCENES: Readonly<Record<string, Figures>> = {
  'before the store is read': { counted: null },
  'nothing counted': { counted: 0 },
  '2,000 records': { counted: 2000 },
  '2,000,000 records': { counted: 2_000_000 },
  '2,000,000,000 records': { counted: 2_000_000_000 },
  'the longest names': { counted: 2_000_000_000, longNames: true },
  'every kind of failure': { counted: 2000, failing: true },
  'every kind of failure, very many records and the longest names': { counted: 2_000_000_000, longNames: true, failing: true },
}

/**
 * Finds the parts of the page that cannot be read: elements wider than the window, text outside its card, text that is cut without an ellipsis, bars too short
 * to be compared, and drawings of ECharts outside its canvas.
 */
const UNREADABLE = `(() => {
  const faults = []
  if (document.documentElement.scrollWidth > innerWidth) faults.push('the page is ' + document.documentElement.scrollWidth + ' px wide')
  for (const card of document.querySelectorAll('.top, .notice, .figure, .card, footer')) {
    const { left, right } = card.getBoundingClientRect()
    const texts = document.createTreeWalker(card, NodeFilter.SHOW_TEXT)
    while (texts.nextNode()) {
      const text = texts.currentNode
      const parent = text.parentElement
      // Text for screen readers is placed out of sight.
      if (text.data.trim() === '' || parent.closest('.hidden-view, .listed thead, .skip') !== null) continue
      const { textOverflow, webkitLineClamp } = getComputedStyle(parent)
      if (textOverflow === 'ellipsis' || webkitLineClamp !== 'none') continue
      const range = document.createRange()
      range.selectNodeContents(text)
      for (const box of range.getClientRects())
        if (box.left < left - 1 || box.right > right + 1) faults.push('outside its card: ' + text.data)
      for (let at = parent; at !== card; at = at.parentElement)
        if (getComputedStyle(at).overflowX !== 'visible' && at.scrollWidth > at.clientWidth) faults.push('cut: ' + text.data)
    }
  }
  for (const bar of document.querySelectorAll('.reason-bar')) if (bar.clientWidth < 0.4 * bar.closest('.card').clientWidth) faults.push('a bar of dead letters has ' + bar.clientWidth + ' px')
  const chart = echarts.getInstanceByDom(document.getElementById('race'))
  const bars = chart?.getModel()?.getSeriesByIndex(0)?.getData()
  if (bars !== undefined && bars.count() > 0) {
    const longest = Math.max(...Array.from({ length: bars.count() }, (_, i) => bars.getItemLayout(i).width))
    if (longest < 0.4 * chart.getWidth()) faults.push('the longest bar has ' + longest + ' px of ' + chart.getWidth())
    for (const drawn of chart.getZr().storage.getDisplayList(true)) {
      if (drawn.type !== 'tspan') continue
      const box = drawn.getBoundingRect().clone()
      if (drawn.transform) box.applyTransform(drawn.transform)
      if (box.x < -1 || box.x + box.width > chart.getWidth() + 1) faults.push('outside the chart: ' + drawn.style.text)
    }
  }
  return faults
})()`

describe('the page on every screen', { timeout: 600_000 }, () => {
  let server: PageServer
  let browser: Browser

  before(async () => {
    server = await servePage({ counted: null })
    browser = await launchBrowser()
  })

  after(async () => {
    await browser?.close()
    await server?.close()
  })

  async function open(figures: Figures, width: number, colorScheme: 'light' | 'dark', use: (page: Page) => Promise<void>): Promise<void> {
    await server.close()
    server = await servePage(figures)
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, reducedMotion: 'reduce' })
    try {
      const page = await context.newPage()
      await page.goto(server.url)
      await page.waitForSelector('#connection[data-state="live"]')
      if (figures.counted === null) await page.waitForSelector('.notice')
      else await until(page, `document.querySelectorAll('#partitions tr').length === 3`)
      if (figures.counted) await page.waitForSelector('#race canvas')
      if (figures.failing) await page.waitForSelector('#letters li')
      await use(page)
    } finally {
      await context.close()
    }
  }

  /** Sets the width of the window, and waits until the bars are drawn for it. */
  async function resize(page: Page, width: number): Promise<void> {
    await page.setViewportSize({ width, height: 900 })
    await until(
      page,
      `(() => {
      const race = document.getElementById('race')
      const chart = echarts.getInstanceByDom(race)
      return innerWidth === ${width} && (race.clientWidth === 0 || !chart?.getModel() || chart.getWidth() === race.clientWidth)
    })()`,
    )
  }

  for (const [scene, figures] of Object.entries(SCENES)) {
    test(`all of it can be read, also with screen readers: ${scene}`, async () => {
      const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
      await open(figures, 1360, 'light', async (page) => {
        await page.evaluate(axe)
        for (const view of ['bars', 'table']) {
          if (view === 'table') await page.click('#view')
          for (const width of WIDTHS) {
            await resize(page, width)
            assert.deepEqual(await page.evaluate(UNREADABLE), [], `${width} px, ${view}`)
          }
          await resize(page, WIDTHS[0] ?? 0)
          const { violations } = await page.evaluate<AxeResults>('axe.run()')
          assert.deepEqual(
            violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`),
            [],
            view,
          )
        }
      })
    })
  }

  test('no figure is shown while it is unknown', async () => {
    await open({ counted: null }, 390, 'light', async (page) => {
      const figures = await page.$$eval('.big, #letters-total', (nodes) => nodes.map((node) => node.textContent?.trim()))
      assert.deepEqual(figures, ['–', '–', '–', '–', '–'])
      assert.equal(await page.textContent('.notice'), 'The store could not be read: the database system is starting up')
      server.show({ counted: 0 })
      await until(page, `document.getElementById('counted').textContent === '0'`)
      assert.equal(await page.textContent('#letters-total'), '0')
      assert.equal(await page.textContent('#lag'), '0')
    })
  })

  test('the button says what a click does', async () => {
    await open({ counted: 2000 }, 1280, 'light', async (page) => {
      assert.equal(await page.textContent('#view'), 'Show as a table')
      await page.click('#view')
      assert.equal(await page.textContent('#view'), 'Show as bars')
      await page.click('#view')
      assert.equal(await page.textContent('#view'), 'Show as a table')
    })
  })

  test('says how many types the Pokémon have, and which share of all Pokémon has a type', async () => {
    await open({ counted: 2000 }, 1280, 'light', async (page) => {
      assert.equal(
        await page.textContent('#counted-note'),
        'of 18 types, since the first start or the last reset; 1,000 duplicates left out',
      )
      assert.deepEqual(await page.$$eval('#counts tr:first-child > *', (cells) => cells.map((cell) => cell.textContent)), [
        '1',
        'water',
        '400',
        '20.0 %',
      ])
    })
  })

  test('only a reset lowers the counts, not an instance that read the store a little earlier', async () => {
    await open({ counted: 2000 }, 1280, 'light', async (page) => {
      await page.evaluate(`window.seen = []; window.sent = []
        new MutationObserver(() => seen.push(document.getElementById('counted').textContent))
          .observe(document.getElementById('counted'), { childList: true, characterData: true, subtree: true })
        new EventSource('./api/events').addEventListener('message', ({ data }) => sent.push(JSON.parse(data).group?.counted))`)
      // The page's clock stands still, so that a lower count is held back for as long as the test needs.
      await page.clock.install()
      await page.clock.pauseAt(Date.now() + 1000)
      server.show({ counted: 1990 })
      await until(page, 'sent.at(-1) === 1990')
      server.show({ counted: 2010 })
      await until(page, `seen.at(-1) === '2,010'`)
      server.show({ counted: 0 })
      await until(page, 'sent.at(-1) === 0')
      assert.deepEqual(await page.evaluate('seen'), ['2,010'])
      await page.clock.fastForward(3000)
      await until(page, `seen.at(-1) === '0'`)
      assert.deepEqual(await page.evaluate('seen'), ['2,010', '0'])
    })
  })

  test('the rows of a stopped and of an unread partition say so, and the top of the page says why', async () => {
    await open({ counted: 2000, failing: true }, 390, 'light', async (page) => {
      const rows = await page.$$eval('#partitions tr', (nodes) => nodes.map((node) => node.children[1]?.textContent))
      assert.deepEqual(rows, ['host-1/4711 this instance stopped', 'host-2/4711', 'no instance of this service not counted'])
      assert.equal(await page.textContent('#instances'), '2 instances read 2 of 3 partitions of poke-topic.')
      const notices = await page.$$eval('.notice', (nodes) => nodes.map((node) => node.textContent ?? ''))
      assert.match(notices[0] ?? '', /^Partition 2 of poke-topic is read by another program .*kcat.*\.$/)
      assert.match(notices.at(-1) ?? '', /^poke-topic-0 is stopped\. Offsets 12 to/)
      const letter = (await page.textContent('#letters li:first-child')) ?? ''
      assert.match(letter, /125,829,120 bytes, of which the first 65,536 are kept/)
      assert.doesNotMatch(letter, /\u202e/)
    })
  })

  test('without its server the page says since when it had no answer, and shows no rate', async () => {
    await open({ counted: 2000 }, 390, 'light', async (page) => {
      await until(page, `document.getElementById('rate').textContent === '0'`)
      await server.close()
      await page.waitForSelector('.notice')
      assert.match((await page.textContent('.notice')) ?? '', /^The server has not answered since .*\d/)
      assert.equal(await page.textContent('#rate'), '–')
      assert.equal(await page.textContent('#counted'), '2,000')
      assert.deepEqual(await page.evaluate(UNREADABLE), [])
      server = await servePage({ counted: null })
    })
  })

  /** For people to look at: `SCREENSHOTS=folder`. */
  test('screenshots', { skip: process.env.SCREENSHOTS === undefined }, async () => {
    const folder = process.env.SCREENSHOTS ?? ''
    await mkdir(folder, { recursive: true })
    for (const [scene, figures] of Object.entries(SCENES)) {
      for (const width of WIDTHS) {
        await open(figures, width, width === 320 || width === 1920 ? 'dark' : 'light', async (page) => {
          await page.screenshot({ path: join(folder, `${scene.replaceAll(/[ ,]+/g, '-')}-${width}.png`), fullPage: true })
        })
      }
    }
  })
})
