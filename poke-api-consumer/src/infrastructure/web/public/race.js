/** The bar race, drawn by ECharts on a canvas: it only decorates, the table beside it has the numbers. */
import { formatCount, formatShare } from './format.js'
import { inkOn, lookOf } from './look.js'

/** @import { EChartsType } from 'echarts' */
/** @import { Looks } from './look.js' */
/** @typedef {{ name: string, count: number }} TypeCount */

const ROW = 31
const ICON = 20
/** ms in which a bar reaches its new length and place: about as long as the next news takes, so that the race never stands still. */
const SLOWEST = 900
const FASTEST = 250

export class Race {
  /** @type {EChartsType} */ #chart
  /** @type {HTMLElement} */ #place
  /** @type {Looks} */ #looks
  /** Categories keep their place in the axis; ECharts moves the bars. @type {string[]} */ #names = []
  /** @type {readonly TypeCount[]} */ #types = []
  #updatedAt = 0
  #calm = matchMedia('(prefers-reduced-motion: reduce)')
  #dark = matchMedia('(prefers-color-scheme: dark)')

  /**
   * @param {typeof import('echarts')} echarts
   * @param {HTMLElement} place where the canvas goes
   * @param {Looks} looks
   */
  constructor(echarts, place, looks) {
    this.#place = place
    this.#looks = looks
    this.#chart = echarts.init(place, null, { renderer: 'canvas' })
    new ResizeObserver(() => this.#chart.resize()).observe(place)
    const again = () => this.#draw(0)
    this.#calm.addEventListener('change', again)
    this.#dark.addEventListener('change', again)
  }

  /** @param {readonly TypeCount[]} types in descending order */
  show(types) {
    const now = performance.now()
    const first = this.#updatedAt === 0
    const duration = Math.min(SLOWEST, Math.max(FASTEST, now - this.#updatedAt))
    this.#updatedAt = now
    this.#types = types
    this.#draw(first ? SLOWEST : duration)
  }

  /** @param {number} duration */
  #draw(duration) {
    const calm = this.#calm.matches
    const types = this.#types
    if (types.length === 0) return
    const counts = new Map(types.map(({ name, count }) => [name, count]))
    // Where nothing may move, the axis is in the order of the counts instead.
    if (calm) this.#names = [...counts.keys()]
    else
      this.#names = [...this.#names.filter((name) => counts.has(name)), ...[...counts.keys()].filter((name) => !this.#names.includes(name))]
    const height = `${types.length * ROW + 12}px`
    if (this.#place.style.height !== height) {
      this.#place.style.height = height
      this.#chart.resize()
    }
    const style = getComputedStyle(this.#place)
    const ink = style.getPropertyValue('--ink').trim()
    const faint = style.getPropertyValue('--line').trim()
    const total = types.reduce((sum, { count }) => sum + count, 0)
    const narrow = this.#place.clientWidth < 480

    this.#chart.setOption({
      animation: !calm,
      animationDuration: calm ? 0 : duration,
      animationDurationUpdate: calm ? 0 : duration,
      animationEasing: 'cubicOut',
      animationEasingUpdate: 'linear',
      textStyle: { fontFamily: style.fontFamily, color: ink },
      grid: { top: 2, right: 18 + 8 * formatCount(types[0]?.count ?? 0).length, bottom: 2, left: narrow ? 100 : 116 },
      xAxis: {
        max: /** @param {{ max: number }} range */ ({ max }) => Math.max(1, max),
        axisLabel: { show: false },
        splitLine: { lineStyle: { color: faint } },
        axisLine: { show: false },
        axisTick: { show: false },
      },
      yAxis: {
        type: 'category',
        data: this.#names,
        inverse: true,
        max: types.length - 1,
        animationDuration: calm ? 0 : 300,
        animationDurationUpdate: calm ? 0 : 300,
        axisLine: { show: false },
        axisTick: { show: false },
        axisLabel: {
          interval: 0,
          margin: 12,
          color: ink,
          fontSize: 13,
          formatter: /** @param {string} name */ (name) => `{text|${name}} {${iconName(name)}|}`,
          rich: { text: { color: ink, fontSize: 13, fontWeight: 500, padding: [0, 6, 0, 0] }, ...this.#icons() },
        },
      },
      series: [
        {
          type: 'bar',
          id: 'counts',
          realtimeSort: !calm,
          barWidth: ROW - 11,
          cursor: 'default',
          data: this.#names.map((name) => ({ value: counts.get(name) ?? 0, itemStyle: this.#bar(name) })),
          label: {
            show: true,
            position: 'right',
            distance: 8,
            valueAnimation: !calm,
            color: ink,
            fontSize: 13,
            fontWeight: 600,
            formatter: label,
          },
          emphasis: { focus: 'none', itemStyle: { borderColor: ink, borderWidth: 1.5 } },
        },
      ],
      // Text drawn on the canvas: the other kind, HTML, needs style attributes, which the page's security policy forbids.
      tooltip: {
        trigger: 'item',
        renderMode: 'richText',
        confine: true,
        backgroundColor: style.getPropertyValue('--card').trim(),
        borderColor: faint,
        textStyle: { color: ink, fontFamily: style.fontFamily, fontSize: 13 },
        formatter: /** @param {{ name: string, value: number }} bar */ ({ name, value }) =>
          `${name}: ${formatCount(value)} Pokémon, ${formatShare(value / total)} of all types counted`,
      },
    })
  }

  /** @param {string} name */
  #bar(name) {
    const { colour } = lookOf(this.#looks, name)
    return {
      borderRadius: [4, 10, 10, 4],
      color: {
        type: 'linear',
        x: 0,
        y: 0,
        x2: 1,
        y2: 0,
        colorStops: [
          { offset: 0, color: `${colour}b0` },
          { offset: 1, color: colour },
        ],
      },
    }
  }

  /** One rich text style for each type: its glyph on a disc of its colour. */
  #icons() {
    return Object.fromEntries(
      this.#names.map((name) => [iconName(name), { width: ICON, height: ICON, backgroundColor: { image: this.#icon(name) } }]),
    )
  }

  /** @type {Map<string, HTMLCanvasElement>} */ #drawn = new Map()

  /** @param {string} name */
  #icon(name) {
    const known = this.#drawn.get(name)
    if (known !== undefined) return known
    const { colour, glyph } = lookOf(this.#looks, name)
    const size = ICON * 3
    const canvas = document.createElement('canvas')
    canvas.width = canvas.height = size
    const pen = canvas.getContext('2d')
    if (pen !== null) {
      pen.fillStyle = colour
      pen.beginPath()
      pen.arc(size / 2, size / 2, size / 2, 0, 2 * Math.PI)
      pen.fill()
      pen.translate(size * 0.19, size * 0.19)
      pen.scale((size * 0.62) / 24, (size * 0.62) / 24)
      pen.fillStyle = inkOn(colour)
      pen.fill(new Path2D(glyph), 'evenodd')
    }
    this.#drawn.set(name, canvas)
    return canvas
  }
}

/** @param {{ value?: unknown }} bar */
function label({ value }) {
  return formatCount(Math.round(Number(value)))
}

/** @param {string} type letters, digits and hyphens: of these ECharts lets a style's name have all but the hyphen. */
function iconName(type) {
  return `icon_${type.replaceAll('-', '_')}`
}
