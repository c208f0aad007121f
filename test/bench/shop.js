/** A page that is worth caching: it takes as many milliseconds of CPU to render as asked for, and is some kB long. */
import { median } from './statistics.js'

/** Products of a shelf. */
const PRODUCTS = 200
const price = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' })
const escape = (text) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)

const card = (number) => `<li id="product-${number}"><h2>${escape(`Tent "N° ${number}" & lamp`)}</h2><p>${price.format(number * 1.19)}</p></li>`

/** All products of a shelf are rendered, and one of them is shown. */
const shelf = (number) => Array.from({ length: PRODUCTS }, (_, product) => card(number * PRODUCTS + product)).sort((one, other) => one.length - other.length)[0]

const shelves = (count) => Array.from({ length: count }, (_, number) => shelf(number)).join('')

/** CPU, in ms. */
function timeOf (work) {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

/** @param {number} milliseconds of CPU for a page */
export function createShop (milliseconds) {
  const ROUND = 10
  const rounds = Array.from({ length: 200 }, () => timeOf(() => shelves(ROUND)))
  // The code was compiled meanwhile.
  const count = Math.round(ROUND * milliseconds / median(rounds.slice(100)))
  return { render: (offer) => `<main>${offer}</main><ul>${shelves(count)}</ul>` }
}
