/** The page of one product, for every script that applies offers in the browser. */
import { Type, type Static } from '@sinclair/typebox'
import { logo, productArt } from './art.ts'
import { html, type Html } from './html.ts'
import type { Product } from './products.ts'
import { style } from './style.ts'

export const ProductQuery = Type.Object({ id: Type.String({ default: 'sweater', maxLength: 50 }) })
export type ProductQuery = Static<typeof ProductQuery>

/** The parts in which such pages differ. */
export interface ProductPageParts {
  nonce: string
  product: Product
  /** Scripts of the head. */
  scripts: Html
  banner?: Html
  /** What "Behind this page" says. */
  behind: Html
  /** The end of the body. */
  end: Html
}

/** The response headers of such a page: it allows no script without its nonce, and calls to the edge. */
export const productHeaders = (nonce: string, edge: string) => ({
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'private, no-cache',
  'content-security-policy': `default-src 'self'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; connect-src 'self' ${edge}; img-src data:`
})

export const productPage = ({ nonce, product, scripts, banner, behind, end }: ProductPageParts): string => html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${product.name}, Ridge &amp; Burn</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">${style}</style>
${scripts}
</head>
<body>
${banner}
<header class="top"><a class="top__logo" href="/">${logo} Ridge &amp; Burn</a></header>
<main class="product">
<div class="card__art card__art--${product.id}">${productArt(product.id)}</div>
<div>
<h1>${product.name}</h1>
<p>${product.text}</p>
<p class="product__price">€${product.price}</p>
<p id="promise">Delivery in three days</p>
<p id="sizes">Sizes: S, M, L</p>
<p><a href="/">All products</a></p>
</div>
</main>
<section class="behind" id="behind" aria-labelledby="behind-title"><div class="behind__inner">
  <p class="behind__eyebrow">Behind this page</p>
  ${behind}
</div></section>
${end}
</body>
</html>
`.toString()
