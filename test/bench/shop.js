/** A page that is worth caching: it takes as many milliseconds of CPU to render as asked for, and is some kB long. */

const SHOWN = 20
const price = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' })
const escape = (text) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)

const card = (number) => `<li id="product-${number}"><h2>${escape(`Tent "N° ${number}" & lamp`)}</h2><p>${price.format(number * 1.19)}</p></li>`

/** All products are rendered, and the best of them are shown. */
function cards (count) {
  const all = Array.from({ length: count }, (_, number) => card(number))
  return all.sort((one, other) => one.length - other.length).slice(0, SHOWN).join('')
}

/** @param {number} milliseconds of CPU for a page, once the code is compiled */
export function createShop (milliseconds) {
  let count = 1000
  for (let round = 0; round < 20; round++) {
    const before = process.cpuUsage()
    cards(count)
    const { user, system } = process.cpuUsage(before)
    count = Math.max(SHOWN, Math.round(count * milliseconds * 1000 / Math.max(user + system, 100)))
  }
  return { render: (offer) => `<main>${offer}</main><ul>${cards(count)}</ul>` }
}
