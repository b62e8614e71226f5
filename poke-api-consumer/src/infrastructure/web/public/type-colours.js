/** How types look: their customary colours, and the ink that can be read on them. */

/** @typedef {Record<string, { colour: string, glyph: string }>} TypeStyles */

/** For a type that nobody knew when this was written. */
const STRANGER = { colour: '#8a8798', glyph: 'M12 4l8 8-8 8-8-8z' }

/**
 * @param {TypeStyles} typeStyles types.json
 * @param {string} type
 */
export function styleOf(typeStyles, type) {
  return Object.hasOwn(typeStyles, type) ? (typeStyles[type] ?? STRANGER) : STRANGER
}

/**
 * Black or white, whichever contrasts more with the colour (WCAG 2, relative luminance): at least 4.5 to 1 on any colour.
 * @param {string} colour #rrggbb
 */
export function inkOn(colour) {
  return contrast(colour, '#000000') >= contrast(colour, '#ffffff') ? '#000000' : '#ffffff'
}

/**
 * The contrast ratio of two colours by WCAG 2, from 1 to 21.
 * @param {string} a #rrggbb
 * @param {string} b #rrggbb
 */
export function contrast(a, b) {
  const [x, y] = [luminance(a), luminance(b)]
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05)
}

/** @param {string} colour */
function luminance(colour) {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}
