/** The page's own work: a second service on loopback that needs about 80 ms to list the products, and its client. */
import { setTimeout as wait } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'

export interface Product {
  id: string
  name: string
  text: string
  /** Euros. */
  price: number
  /** Euros, before the season's reduction. */
  listPrice: number
}

const products: Product[] = [
  { id: 'sweater', name: 'Tarn sweater', text: 'Lambswool, knitted in one piece', price: 89, listPrice: 109 },
  { id: 'jacket', name: 'Eider jacket', text: '700 fill down, 340 grams', price: 179, listPrice: 219 },
  { id: 'shell', name: 'Squall shell', text: 'Three layers, taped seams', price: 229, listPrice: 269 },
  { id: 'tent', name: 'Lee tent', text: 'Two people, four pegs, 1.3 kg', price: 319, listPrice: 379 },
  { id: 'lantern', name: 'Ember lantern', text: 'Forty hours of warm light', price: 49, listPrice: 59 },
  { id: 'bottle', name: 'Burn bottle', text: 'Steel, holds the heat all day', price: 35, listPrice: 39 }
]

/** Milliseconds the service takes. */
const duration = 80

export function createProductService (): FastifyInstance {
  const service = Fastify({ forceCloseConnections: true })
  service.get('/products', async () => {
    await wait(duration)
    return products
  })
  return service
}

/** Asks the service at `address`, e.g. `http://127.0.0.1:4000`. */
export async function fetchProducts (address: string): Promise<Product[]> {
  const response = await fetch(`${address}/products`)
  if (!response.ok) throw new Error(`the product service answered ${response.status}`)
  return await response.json() as Product[]
}
