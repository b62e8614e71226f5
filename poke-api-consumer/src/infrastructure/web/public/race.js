/** The bar race, drawn by ECharts on a canvas. It is a decoration: the table beside it has the same numbers. */
import { formatCount, formatShare } from './format.js'
import { inkOn, styleOf } from './type-colours.js'

/** @import { EChartsType } from 'echarts' */
/** @import { TypeStyles } from './type-colours.js' */
/** @typedef {{ name: string, count: number }} TypeCount */

/** px */
const ROW = 31
const BAR = 20
const ICON = 20
/** Heights for the narrow layout, in which names are above their bars. */
const TALL_ROW = 42
const THIN_BAR = 10
/** The least part of the width for the bars. If names and numbers leave less, they are drawn above the bars. */
const LEAST_FOR_BARS = 0.45
/** The largest part of the width for a name. */
const MOST_FOR_NAMES = 0.4
/** Durations of an animation, in ms: about the time between two updates, so that the bars never stand still. */
const SLOWEST = 900
const FASTEST = 250

export class Race {
  /** @type {EChartsType} */ #chart
  /** @type {HTMLElement} */ #place
  /** @type {TypeStyles} */ #typeStyles
  /** Categories keep their place in the axis; ECharts moves the bars. @type {string[]} */ #names = []
  /** @type {readonly TypeCount[]} */ #types = []
  #counted = 0
  #width = 0
  #pen = document.createElement('canvas').getContext('2d')
  #updatedAt = 0
  #calm = matchMedia('(prefers-reduced-motion: reduce)')
  #dark = matchMedia('(prefers-color-scheme: dark)')

  /**
   * @param {typeof import('echarts')} echarts
   * @param {HTMLElement} place the parent of the canvas
   * @param {TypeStyles} typeStyles
   */
  constructor(echarts, place, typeStyles) {
    this.#place = place
    this.#typeStyles = typeStyles
    this.#chart = echarts.init(place, null, { renderer: 'canvas' })
    new ResizeObserver(() => {
      if (place.clientWidth !== this.#width) this.#draw(0)
    }).observe(place)
    const again = () => this.#draw(0)
    this.#calm.addEventListener('change', again)
    this.#dark.addEventListener('change', again)
  }

  /**
   * @param {readonly TypeCount[]} types in descending order
   * @param {number} counted Pokémon in all
   */
  show(types, counted) {
    const now = performance.now()
    const first = this.#updatedAt === 0
    const duration = Math.min(SLOWEST, Math.max(FASTEST, now - this.#updatedAt))
    this.#updatedAt = now
    this.#types = types
    this.#counted = counted
    this.#draw(first ? SLOWEST : duration)
  }

  /** @param {number} duration */
  #draw(duration) {
    const calm = this.#calm.matches
    const types = this.#types
    // A hidden chart has no width. It is drawn when it is shown again.
    const width = this.#place.clientWidth
    if (types.length === 0 || width === 0) return
    const counts = new Map(types.map(({ name, count }) => [name, count]))
    // Without animations, the axis itself has the order of the counts.
    if (calm) this.#names = [...counts.keys()]
    else
      this.#names = [...this.#names.filter((name) => counts.has(name)), ...[...counts.keys()].filter((name) => !this.#names.includes(name))]
    const style = getComputedStyle(this.#place)
    const layout = this.#layout(width, style.fontFamily)
    const height = `${types.length * layout.row + 12}px`
    if (this.#place.style.height !== height || width !== this.#width) {
      this.#place.style.height = height
      this.#width = width
      this.#chart.resize()
    }
    const ink = style.getPropertyValue('--ink').trim()
    const faint = style.getPropertyValue('--line').trim()
    /** @param {string} name */
    const nameOf = (name) => this.#shortened(name, layout.name)
    /** @param {string} name */
    const beside = (name) => `{text|${nameOf(name)}} {${iconName(name)}|}`
    /** @param {string} name */
    const above = (name) => `{${iconName(name)}|} {text|${nameOf(name)}} {number|${formatCount(counts.get(name) ?? 0)}}`

    this.#chart.setOption({
      animation: !calm,
      animationDuration: calm ? 0 : duration,
      animationDurationUpdate: calm ? 0 : duration,
      animationEasing: 'cubicOut',
      animationEasingUpdate: 'linear',
      textStyle: { fontFamily: style.fontFamily, color: ink },
      grid: { top: 2, right: layout.right, bottom: 2, left: layout.left },
      xAxis: {
        max: /** @param {{ max: number }} range */ ({ max }) => Math.max(1, max),
        axisLabel: { show: false },
        // Grid lines are not needed, because each bar has its number.
        splitLine: { show: false },
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
          inside: layout.isAbove,
          margin: layout.isAbove ? 0 : 12,
          verticalAlign: layout.isAbove ? 'bottom' : 'middle',
          padding: layout.isAbove ? [0, 0, THIN_BAR / 2 + 3, 0] : 0,
          color: ink,
          fontSize: 13,
          formatter: layout.isAbove ? above : beside,
          rich: {
            text: { color: ink, fontSize: 13, fontWeight: 500, padding: layout.isAbove ? [0, 8, 0, 2] : [0, 6, 0, 0] },
            number: { color: ink, fontSize: 13, fontWeight: 600 },
            ...this.#icons(layout.icon),
          },
        },
      },
      series: [
        {
          type: 'bar',
          id: 'counts',
          realtimeSort: !calm,
          barWidth: layout.bar,
          cursor: 'default',
          data: this.#names.map((name) => ({ value: counts.get(name) ?? 0, itemStyle: this.#bar(name) })),
          label: {
            show: !layout.isAbove,
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
      // Draws the text on the canvas, because HTML tooltips need style attributes, which the page's security policy forbids.
      tooltip: {
        trigger: 'item',
        renderMode: 'richText',
        confine: true,
        backgroundColor: style.getPropertyValue('--card').trim(),
        borderColor: faint,
        textStyle: { color: ink, fontFamily: style.fontFamily, fontSize: 13 },
        formatter: /** @param {{ name: string, value: number }} bar */ ({ name, value }) =>
          `${nameOf(name)}: ${formatCount(value)} Pokémon, ${formatShare(value, this.#counted)} of all`,
      },
    })
  }

  /**
   * The layout: name, bar and number in one row if they fit, otherwise name and number above the bar.
   * @param {number} width
   * @param {string} family
   */
  #layout(width, family) {
    if (this.#pen !== null) this.#pen.font = `600 13px ${family}`
    const number = Math.ceil(this.#measure(formatCount(this.#types[0]?.count ?? 0)))
    const longest = Math.ceil(Math.max(...this.#types.map(({ name }) => this.#measure(name))))
    const beside = { icon: ICON, between: 26 }
    const left = Math.min(longest + beside.icon + beside.between, Math.floor(width * MOST_FOR_NAMES))
    const right = number + 20
    if (width - left - right >= width * LEAST_FOR_BARS)
      return { isAbove: false, row: ROW, bar: BAR, icon: ICON, left, right, name: left - beside.icon - beside.between }
    const icon = 16
    return { isAbove: true, row: TALL_ROW, bar: THIN_BAR, icon, left: 0, right: 4, name: width - number - icon - 34 }
  }

  /** @param {string} text */
  #measure(text) {
    return this.#pen?.measureText(text).width ?? 8 * text.length
  }

  /**
   * @param {string} name
   * @param {number} most px
   */
  #shortened(name, most) {
    if (this.#measure(name) <= most) return name
    const characters = [...name]
    while (characters.length > 1 && this.#measure(`${characters.join('')}…`) > most) characters.pop()
    return `${characters.join('')}…`
  }

  /** @param {string} name */
  #bar(name) {
    const { colour } = styleOf(this.#typeStyles, name)
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
  #icons(/** @type {number} px */ size) {
    return Object.fromEntries(
      this.#names.map((name) => [iconName(name), { width: size, height: size, backgroundColor: { image: this.#icon(name) } }]),
    )
  }

  /** @type {Map<string, HTMLCanvasElement>} */ #drawn = new Map()

  /** @param {string} name */
  #icon(name) {
    const known = this.#drawn.get(name)
    if (known !== undefined) return known
    const { colour, glyph } = styleOf(this.#typeStyles, name)
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

/** @param {string} type letters, digits and hyphens. ECharts does not allow hyphens in the name of a style. */
function iconName(type) {
  return `icon_${type.replaceAll('-', '_')}`
}
