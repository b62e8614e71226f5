/**
 * The page: reads the stream of snapshots and shows each of them. It stores nothing that a snapshot does not have, so it can lose its server at any
 * time. Figures that a snapshot does not know yet stay unchanged.
 */
import { formatAge, formatCount, formatName, formatNumberOf, formatRate, formatShare } from './format.js'
import { Race } from './race.js'
import { inkOn, styleOf } from './type-colours.js'
import typeStyles from './types.json' with { type: 'json' }

/** @import { Snapshot, PartitionRow } from '../snapshot.ts' */
/** @import { DeadLetterView } from '../../dead-letters/dead-letter-view.ts' */

/** The time without a message after which the connection counts as dead, in ms: three heartbeats. */
const SILENCE = 10_000
/** The wait before a refused stream is requested again, in ms. (The browser itself reconnects a broken one after a second.) */
const RETRY = 1500
/** The time between two Pokémon that slide in, in ms: nobody can follow more. */
const FEED_PACE = 450
const FEED_LENGTH = 8
/** Samples of the rate, one a second. */
const SPARK_LENGTH = 120
const DEAD_LETTERS_SHOWN = 4
/** The shortest time between two requests for dead letters, in ms. */
const DEAD_LETTERS_INTERVAL = 2000
/**
 * The time in ms for which a snapshot with fewer counts than the previous one is not shown. Behind a proxy it may come from another instance,
 * which polled the store a second earlier. After a reset the counts stay lower.
 */
const BEHIND = 3000

const REASONS = /** @type {Record<string, string>} */ ({
  'null-value': 'no value (a tombstone)',
  'empty-value': 'empty value',
  'too-large': 'too large to be a Pokémon',
  'not-utf8': 'not UTF-8',
  'not-json': 'not JSON',
  'wrong-shape': 'JSON, but no Pokémon',
  'bad-type-name': 'a type with an impossible name',
  'unknown-event-type': "somebody else's event type",
})

const calm = matchMedia('(prefers-reduced-motion: reduce)')

/** @typedef {NonNullable<Snapshot['group']>} Group */

/** The last snapshot. @type {Snapshot | null} */ let shown = null
/** The last known figures of the group. @type {Group | null} */ let known = null
/** The time since which snapshots have fewer counts than the page shows, by its monotonic clock; null where they have not. @type {number | null} */
let behindSince = null
/** The time of day since which the server has been silent; null while it answers. @type {string | null} */ let silentSince = null
/** @type {Race | null} */ let race = null
/** The server's clock minus this one's, ms. */
let clockSkew = 0

// ---- the stream

/** @type {EventSource | null} */ let source = null
let retryTimer = 0
let silenceTimer = 0
/** The seconds between two snapshots where the server has no stream for this page; null otherwise. @type {number | null} */ let pace = null

function connect() {
  disconnect()
  pace = null
  source = new EventSource('./api/events')
  source.addEventListener('message', (event) => {
    heard()
    show(/** @type {Snapshot} */ (JSON.parse(event.data)))
  })
  source.addEventListener('beat', (event) => {
    heard()
    clockSkew = Number(event.data) - Date.now()
  })
  source.addEventListener('open', () => {
    pace = null
  })
  // The stream ends after one snapshot, and the browser reconnects for the next one by itself.
  source.addEventListener('full', (event) => {
    pace = Number(event.data)
    heard()
    showNotices()
  })
  source.addEventListener('error', () => {
    if (pace !== null && source?.readyState === EventSource.CONNECTING) return
    setConnection('lost', 'reconnecting…')
    if (source?.readyState === EventSource.CLOSED) retryTimer = window.setTimeout(connect, RETRY)
  })
  silenceTimer = window.setTimeout(silent, SILENCE)
}

function disconnect() {
  clearTimeout(retryTimer)
  clearTimeout(silenceTimer)
  source?.close()
  source = null
}

function heard() {
  setConnection('live', pace === null ? 'live' : `every ${pace} s`)
  clearTimeout(silenceTimer)
  silenceTimer = window.setTimeout(silent, SILENCE)
}

/** The notice of a page without a stream. @returns {string[]} */
function crowded() {
  if (pace === null) return []
  return [`Too many pages are open: this one is updated only every ${pace} seconds. Close pages that you do not need.`]
}

function silent() {
  setConnection('lost', 'reconnecting…')
  connect()
}

/**
 * @param {'live' | 'lost' | 'paused'} state
 * @param {string} text
 */
function setConnection(state, text) {
  setText('connection-text', text)
  if (byId('connection').dataset.state === state) return
  byId('connection').dataset.state = state
  document.body.classList.toggle('stale', state !== 'live')
  silentSince = state === 'lost' && known !== null ? new Date().toLocaleTimeString() : null
  showRate()
  showNotices()
}

// A browser opens at most six connections to a server, so a hidden tab closes its stream.
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) return connect()
  disconnect()
  setConnection('paused', 'paused')
})
addEventListener('pagehide', disconnect)
addEventListener('pageshow', (event) => event.persisted && connect())

// ---- one snapshot

/** @param {Snapshot} snapshot */
function show(snapshot) {
  // The server is of another version than this page.
  if (shown !== null && shown.build !== snapshot.build) return location.reload()
  shown = snapshot
  const { group, instance } = snapshot
  // A server that has just started may not have polled its store yet: the previous figures stay until it has.
  if (group !== null && !isBehind(group)) showGroup(group, instance.name)
  showRate()
  showAge()
  showNotices()
  setText('instance', instance.name)
}

/** Whether the shown figures are newer. @param {Group} group */
function isBehind({ counted }) {
  if (known === null || counted >= known.counted) {
    behindSince = null
    return false
  }
  behindSince ??= performance.now()
  if (performance.now() - behindSince < BEHIND) return true
  behindSince = null
  return false
}

/**
 * @param {Group} group
 * @param {string} instance
 */
function showGroup(group, instance) {
  const before = known
  known = group
  countUp(byId('counted'), group.counted)
  const types = formatNumberOf(group.types.length + group.moreTypes, 'type')
  setText('counted-note', `of ${types}, since the first start or the last reset; ${formatNumberOf(group.duplicates, 'duplicate')} left out`)
  document.title = `${formatCount(group.counted)} · Pokémon types, counted live`
  showLag(group)
  showTypes(group)
  showPartitions(group, instance)
  showDeadLetters(group, before?.deadLetters ?? 0)
  feed(group.recent)
}

/** @param {Group} group */
function showLag({ lag, heldBack, partitions, morePartitions }) {
  const all = formatNumberOf(partitions.length + morePartitions, 'partition')
  setFigure('lag', lag === null ? '–' : formatCount(lag))
  if (lag === null) setText('lag-note', 'not known: the broker of a partition has not answered')
  else if (heldBack) setText('lag-note', `records not counted yet, in ${all}; open transactions hold back ${formatCount(heldBack)} of them`)
  else setText('lag-note', `records not counted yet, in ${all}`)
}

function showAge() {
  // Without its server, the page keeps the last age.
  if (known === null || byId('connection').dataset.state !== 'live') return
  const { newest } = known
  const [figure, unit] = newest === null || newest.at === null ? ['–', ''] : formatAge(Date.now() + clockSkew - newest.at)
  setFigure('age', figure)
  setText('age-unit', unit)
  setText('origin', newest === null ? 'none yet' : ageOf(newest))
}

/** The kind of time that the age is measured from. @param {NonNullable<Group['newest']>} newest */
function ageOf({ at, origin }) {
  if (at === null) return 'its record has a timestamp that is not a time'
  if (origin === null) return 'by the timestamp of its record'
  return `by the time of its capture, from the ${{ live: 'live PokeAPI', bundled: 'bundled Pokédex' }[origin]}`
}

/** @param {Group} group */
function showTypes({ types, moreTypes, counted }) {
  race?.show(types, counted)
  byId('race-empty').hidden = types.length > 0
  const leader = types[0]
  if (leader !== undefined) document.documentElement.style.setProperty('--leader', styleOf(typeStyles, leader.name).colour)
  replaceRows('counts', types, ({ name, count }, rank) => [
    cell('td', formatCount(rank + 1)),
    cell('th', chip(name)),
    cell('td', formatCount(count)),
    cell('td', formatShare(count, counted)),
  ])
  setNote('more-types', moreTypes, `${formatNumberOf(moreTypes, 'rarer type')} ${moreTypes === 1 ? 'is' : 'are'} not shown.`)
}

/**
 * @param {Group} group
 * @param {string} instance
 */
function showPartitions(group, instance) {
  const topics = new Map(group.partitions.map(({ topicId, topic }) => [topicId, topic]))
  replaceRows('partitions', group.partitions, (row) => [
    // A recreated topic has the name of the previous one.
    cell('th', topics.size > 1 ? `${row.topic} ${row.topicId.slice(0, 8)} ${row.partition}` : String(row.partition)),
    owner(row),
    cell('td', row.position === null ? '–' : formatCount(row.position)),
    cell('td', formatCount(row.counted)),
    cell('td', formatCount(row.duplicates)),
    cell('td', formatCount(row.deadLetters)),
    cell('td', lagOf(row)),
  ])
  setNote(
    'more-partitions',
    group.morePartitions,
    `${formatNumberOf(group.morePartitions, 'more partition')} not shown: see “partitions” below.`,
  )

  const names = new Set(group.partitions.filter(({ unread }) => !unread).map((row) => row.owner ?? (row.here ? instance : '')))
  names.delete('')
  const all = formatNumberOf(group.partitions.length + group.morePartitions, 'partition')
  const unread = group.partitions.filter((row) => row.unread).length
  const some = unread === 0 ? '' : `${formatCount(group.partitions.length + group.morePartitions - unread)} of `
  const read = `${names.size === 1 ? 'reads' : 'read'} ${some}${all}`
  const topic = [...new Set(topics.values())].join(', ')
  setText('instances', names.size === 0 ? 'No partition is read yet.' : `${formatNumberOf(names.size, 'instance')} ${read} of ${topic}.`)
}

/** @param {PartitionRow} row */
function lagOf({ lag, heldBack }) {
  if (lag === null) return '–'
  return heldBack ? `${formatCount(lag)} (${formatCount(heldBack)} held back)` : formatCount(lag)
}

/** @param {PartitionRow} row */
function owner(row) {
  const td = cell(
    'td',
    row.unread ? 'no instance of this service' : (row.owner ?? (row.position === null ? 'nobody yet' : 'another instance')),
  )
  if (row.here) td.append(' ', element('span', { class: 'tag' }, 'this instance'))
  if (row.unread) td.append(' ', element('span', { class: 'tag alarm' }, 'not counted'))
  if (row.stopped !== null) td.append(' ', element('span', { class: 'tag alarm' }, 'stopped'))
  return td
}

function showNotices() {
  const stopped = (known?.partitions ?? [])
    .filter((row) => row.stopped !== null)
    .map((row) => `${row.topic}-${row.partition} is stopped. ${row.stopped}`)
  const silent = silentSince === null ? [] : [`The server has not answered since ${silentSince}. All figures are from that time.`]
  const notices = [...silent, ...(shown?.unread ?? []).map(sentence), ...(shown?.troubles ?? []), ...crowded(), ...stopped]
  const place = byId('notices')
  if (place.dataset.shown === notices.join('\n')) return
  place.dataset.shown = notices.join('\n')
  place.replaceChildren(...notices.map((text) => element('p', { class: 'notice' }, text)))
}

/** Makes a sentence of a reason, which begins with a small letter and has no full stop. @param {string} reason */
function sentence(reason) {
  return `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`
}

// ---- dead letters

let deadLettersShown = 0
let deadLettersRequested = false

/**
 * @param {Group} group
 * @param {number} before
 */
function showDeadLetters({ deadLetters, reasons }, before) {
  setText('letters-total', formatCount(deadLetters))
  byId('letters-latest').hidden = deadLetters === 0
  if (deadLetters === before && deadLettersShown === deadLetters) return
  const most = reasons[0]?.count ?? 1
  byId('reasons').replaceChildren(
    ...reasons.map(({ reason, count }) => {
      const bar = element('span', { class: 'reason-bar', 'aria-hidden': 'true' })
      bar.style.setProperty('--part', String(count / most))
      return element('li', {}, element('span', {}, REASONS[reason] ?? reason), bar, element('b', {}, formatCount(count)))
    }),
  )
  void showLatestDeadLetters()
}

/** Requests the latest dead letters, at most once in an interval. Where more came meanwhile, or the request failed, the next snapshot repeats it. */
async function showLatestDeadLetters() {
  if (deadLettersRequested || known === null) return
  deadLettersRequested = true
  setTimeout(() => {
    deadLettersRequested = false
  }, DEAD_LETTERS_INTERVAL)
  const wanted = known.deadLetters
  try {
    const answer = await fetch(`./api/dead-letters?limit=${DEAD_LETTERS_SHOWN}`)
    if (!answer.ok) return
    const { deadLetters } = /** @type {{ deadLetters: DeadLetterView[] }} */ (await answer.json())
    byId('letters').replaceChildren(...deadLetters.map(deadLetterItem))
    deadLettersShown = wanted
  } catch {
    // The server is unreachable, which the page shows already.
  }
}

/** @param {DeadLetterView} deadLetter */
function deadLetterItem({ topic, partition, offset, reason, value }) {
  const preview = value === null ? 'null' : value.bytes === 0 ? 'empty' : value.preview
  return element(
    'li',
    {},
    element('span', { class: 'reason' }, REASONS[reason] ?? reason),
    ' ',
    element('span', { class: 'where' }, `${topic}-${partition}, offset ${formatCount(offset)}${sizeOf(value)}`),
    element('code', {}, preview),
  )
}

/** @param {DeadLetterView['value']} value */
function sizeOf(value) {
  if (value === null) return ''
  const size = `, ${formatNumberOf(value.bytes, 'byte')}`
  return value.kept === undefined ? size : `${size}, of which the first ${formatCount(value.kept)} are kept`
}

// ---- what was just counted

/** @typedef {Group['recent'][number]} Recent */
/** @type {Recent[]} */ let waiting = []
let lastSeen = 0
let feedTimer = 0

/** @param {readonly Recent[]} recent newest first */
function feed(recent) {
  const newest = recent[0]
  if (newest === undefined) return
  // The numbers begin with 1 again in a new instance.
  if (newest.seen < lastSeen) lastSeen = 0
  const news = recent.filter(({ seen }) => seen > lastSeen).reverse()
  const first = lastSeen === 0
  lastSeen = newest.seen
  if (news.length === 0) return
  byId('feed-empty').hidden = true
  waiting = [...waiting, ...news].slice(-FEED_LENGTH)
  if (first) while (waiting.length > 1) slideIn()
  if (feedTimer === 0) nextOfFeed()
}

function nextOfFeed() {
  feedTimer = 0
  if (!slideIn()) return
  feedTimer = window.setTimeout(nextOfFeed, FEED_PACE)
}

/** Moves the oldest waiting Pokémon into the list. @returns whether one was waiting */
function slideIn() {
  const pokemon = waiting.shift()
  if (pokemon === undefined) return false
  const list = byId('feed')
  const item = element(
    'li',
    {},
    badge(pokemon.types),
    element('span', { class: 'name', title: pokemon.name }, formatName(pokemon.name)),
    element('span', { class: 'number' }, `#${pokemon.id}`),
    element('span', { class: 'chips' }, ...pokemon.types.map(chip)),
  )
  const [first, second = first] = pokemon.types.map((type) => styleOf(typeStyles, type).colour)
  if (first !== undefined && second !== undefined) {
    item.style.setProperty('--first', first)
    item.style.setProperty('--second', second)
  }
  list.prepend(item)
  while (list.childElementCount > FEED_LENGTH) list.lastElementChild?.remove()
  return true
}

/** @param {string} type */
function chip(type) {
  const { colour } = styleOf(typeStyles, type)
  const node = element('span', { class: 'chip', title: type }, type)
  node.style.setProperty('--colour', colour)
  node.style.setProperty('--on-colour', inkOn(colour))
  return node
}

/** A disc with the glyphs of the types. @param {readonly string[]} types */
function badge(types) {
  const node = element('span', { class: 'badge', 'aria-hidden': 'true' })
  const type = types[0]
  if (type === undefined) return node
  const { colour, glyph } = styleOf(typeStyles, type)
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  path.setAttribute('d', glyph)
  path.setAttribute('fill-rule', 'evenodd')
  path.setAttribute('fill', inkOn(colour))
  svg.append(path)
  node.append(svg)
  return node
}

// ---- figures that move by themselves

/** @type {number[]} */ const rates = []

/** Shows the rate of this moment, or none where it is not known. */
function showRate() {
  const { rate = null, rateSeconds = null } = (byId('connection').dataset.state === 'live' && shown?.group) || {}
  const [figure, unit] = rate === null ? ['–', ''] : formatRate(rate)
  setFigure('rate', figure)
  setText('rate-unit', unit)
  setText('rate-note', rateSeconds === null ? 'not known now' : `average of the last ${formatCount(rateSeconds)}\u00a0s`)
  return rate
}

function everySecond() {
  if (behindSince !== null && shown !== null) show(shown)
  showAge()
  const rate = showRate()
  if (rate === null) return
  rates.push(rate)
  if (rates.length > SPARK_LENGTH) rates.shift()
  const most = Math.max(...rates, 0.001)
  const points = rates.map((value, i) => `${SPARK_LENGTH - rates.length + i},${(22 - (value / most) * 19).toFixed(1)}`)
  byId('spark-line').setAttribute('d', `M${points.join('L')}`)
  byId('spark-area').setAttribute('d', `M${SPARK_LENGTH - rates.length},24L${points.join('L')}L${SPARK_LENGTH - 1},24Z`)
}

let countUpFrame = 0

/**
 * Lets a figure run to its new value.
 * @param {HTMLElement} node
 * @param {number} target
 */
function countUp(node, target) {
  cancelAnimationFrame(countUpFrame)
  const from = Number(node.dataset.value ?? target)
  const start = performance.now()
  const step = () => {
    const part = calm.matches ? 1 : Math.min(1, (performance.now() - start) / 600)
    const value = Math.round(from + (target - from) * (1 - (1 - part) ** 3))
    node.dataset.value = String(value)
    setFigure(node.id, formatCount(value))
    if (part < 1) countUpFrame = requestAnimationFrame(step)
  }
  step()
}

// ---- the document

/** @param {string} id */
function byId(id) {
  const node = document.getElementById(id)
  if (node === null) throw new Error(`The page has no element #${id}.`)
  return node
}

/**
 * Changes an element only where its text differs, so that selections and the position of a screen reader stay.
 * @param {string} id
 * @param {string} text
 */
function setText(id, text) {
  const node = byId(id)
  if (node.textContent !== text) node.textContent = text
}

/**
 * Sets a large figure. A longer one is drawn smaller, so that it fits into its card.
 * @param {string} id
 * @param {string} text
 */
function setFigure(id, text) {
  byId(id).style.setProperty('--characters', String(Math.max(4, text.length)))
  setText(id, text)
}

/**
 * @param {string} id
 * @param {number} count the number of omitted entries; with 0 the note is hidden
 * @param {string} text
 */
function setNote(id, count, text) {
  byId(id).hidden = count === 0
  setText(id, text)
}

/**
 * @param {string} name
 * @param {Record<string, string>} attributes
 * @param {(Node | string)[]} children
 */
function element(name, attributes, ...children) {
  const node = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value)
  node.append(...children)
  return node
}

/**
 * @param {'td' | 'th'} name
 * @param {Node | string} content
 */
function cell(name, content) {
  return element(name, name === 'th' ? { scope: 'row' } : {}, content)
}

/**
 * Updates the rows of a table, each only where it has changed. Where the table is too wide for its place, each row becomes a list.
 * @template T
 * @param {string} id
 * @param {readonly T[]} rows
 * @param {(row: T, index: number) => HTMLElement[]} cells
 */
function replaceRows(id, rows, cells) {
  const body = byId(id)
  const titles = [...(body.parentElement?.querySelectorAll('thead th') ?? [])].map(({ textContent }) => textContent)
  rows.forEach((row, index) => {
    const made = element('tr', {}, ...cells(row, index))
    for (const [column, title] of titles.entries()) made.children[column]?.setAttribute('data-title', title)
    const old = body.children[index]
    if (old === undefined) body.append(made)
    else if (!old.isEqualNode(made)) old.replaceWith(made)
  })
  while (body.children.length > rows.length) body.lastElementChild?.remove()
  fitTables()
}

function fitTables() {
  for (const id of ['table-view', 'partitions-view']) {
    const place = byId(id)
    place.classList.remove('listed')
    place.classList.toggle('listed', place.scrollWidth > place.clientWidth && !place.classList.contains('hidden-view'))
  }
}

const view = byId('view')
view.addEventListener('click', () => setView(!byId('race').hidden))

/** @param {boolean} asTable */
function setView(asTable) {
  setText('view', asTable ? 'Show as bars' : 'Show as a table')
  byId('race').hidden = asTable
  byId('table-view').classList.toggle('hidden-view', !asTable)
  fitTables()
}

addEventListener('load', () => {
  const { echarts } = /** @type {{ echarts?: typeof import('echarts') }} */ (/** @type {unknown} */ (globalThis))
  if (echarts === undefined) return setView(true)
  race = new Race(echarts, byId('race'), typeStyles)
  if (known !== null) race.show(known.types, known.counted)
})

addEventListener('resize', fitTables)
fitTables()
setInterval(everySecond, 1000)
connect()
