/** The page, rendered from the shop's products and Target's offers. */
import type { MboxOffer } from 'fastify-adobe-target'
import { logo, productArt } from './art.ts'
import type { CheckoutFlags } from './checkout-flags.ts'
import { html, Html } from './html.ts'
import type { Product } from './products.ts'
import { style } from './style.ts'
import { states, type TargetState } from './target-states.ts'
import { compactTimelineSvg, timelineSvg, type Timeline } from './timeline.ts'

export interface PageModel {
  /** Of the page's Content-Security-Policy. */
  nonce: string
  /** What was made of Target; undefined if that cannot be done. */
  state: TargetState | undefined
  /** Whether Target is called through the Edge Network. */
  webSdk: boolean
  /** The inspector's badge. */
  toolbar: string
  products: Product[]
  hero: MboxOffer
  banner: MboxOffer
  flags: CheckoutFlags
  /** All offers of this page. */
  offers: MboxOffer[]
  isGold: boolean
  /** The click to count, and how often it was counted; undefined if there is none. */
  click: { token: string, count: number } | undefined
  timeline: Timeline
}

/** The fallback, if Target has no hero or cannot be reached. */
const defaultHero = html`<section class="hero hero--default">
  <p class="hero__eyebrow">Outdoor goods since 1979</p>
  <h1 class="hero__title">Made for weather</h1>
  <p class="hero__text">Few things, made well, repaired for as long as you wear them.</p>
</section>`

/** An html offer is markup of the marketing team, and goes into the page as it is. Everything else is escaped. */
const markup = ({ type, content }: MboxOffer, fallback?: Html) =>
  type === 'html' && typeof content === 'string' ? new Html(content) : fallback

export function renderPage (model: PageModel): string {
  const { products, hero, banner, flags, isGold, click, timeline, nonce, state } = model
  const query = isGold ? '?member=gold' : ''
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Ridge &amp; Burn, outdoor goods</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">${style}</style>
</head>
<body>
<aside aria-label="Announcement">${place('banner', banner.options[0]?.eventToken, markup(banner))}</aside>
<header class="top">
  <a class="top__logo" href="/">${logo} Ridge &amp; Burn</a>
  <p class="top__promise">${flags.express ? 'Express delivery: here tomorrow' : 'Delivery in three days'} · free from €${flags.freeShippingFrom}</p>
  <nav class="top__member" aria-label="Membership">
    <a href="/"${isGold ? undefined : current}>Guest</a>
    <a href="/?member=gold"${isGold ? current : undefined}>Gold member</a>
  </nav>
</header>
<main>
${place('hero', click?.token, markup(hero, defaultHero))}
<section class="shelf" aria-labelledby="shelf-title">
  <h2 id="shelf-title">Winter shelf</h2>
  <ul class="products">${products.map((product) => card(product, flags))}</ul>
</section>
<a class="pill" href="#behind">Target delayed this page by <b>${timeline.target.waited.toFixed(1)} ms</b></a>
</main>
<section class="behind" id="behind" aria-labelledby="behind-title">
  <div class="behind__inner">
    <p class="behind__eyebrow">Behind this page</p>
    <h2 id="behind-title">Target delayed this page by ${timeline.target.waited.toFixed(1)} ms</h2>
    <p class="behind__text">The call to Target started when the request arrived, and ran while the shop waited for its product service. ${inTurn(timeline)}</p>
    ${model.webSdk && html`<p class="behind__text">It went to the Edge Network, as Web SDK's own calls do. Products are pages with Web SDK: <a href="/product">one of them</a>.</p>`}
    <div class="behind__timeline">${timelineSvg(timeline)}${compactTimelineSvg(timeline)}</div>
    <div class="behind__tables">
      <table>
        <thead><tr><th>mbox</th><th>Activity</th><th>Experience</th><th>Reason</th></tr></thead>
        <tbody>${model.offers.map(decision)}</tbody>
      </table>
      <div class="behind__actions">
        ${click && html`<form id="click" method="post" action="/click${query}">
          <input type="hidden" name="token" value="${click.token}">
          <button>Count a click</button>
          <output>${click.count} ${click.count === 1 ? 'click' : 'clicks'} counted for this hero</output>
        </form>`}
        <form method="post" action="/new-visitor${query}">
          <button class="quiet">New visitor</button>
          <span>deletes the cookies, and with them the variant</span>
        </form>
        <p class="behind__why"><a href="/_target">Why this hero?</a> ${model.webSdk ? 'The inspector shows the calls and offers of the last pages.' : 'The inspector shows every rule, and forces another hero for this browser alone.'}</p>
      </div>
    </div>
    ${state && html`<div class="behind__faults">
      <h3>And if Target fails?</h3>
      <p>${states.get(state)!.now} ${state === 'fine' ? 'Spoil that, and see what becomes of the page.' : `This page did not wait for it: ${outcome(model)}.`}</p>
      <form method="post" action="/target-is${query}">${[...states].filter(([name]) => name !== state).map(([name, { button }]) => html`<button name="state" value="${name}"${name !== 'fine' && html` class="quiet"`}>${button}</button>`)}</form>
    </div>`}
    <div class="behind__code">
      <h3>The code of this page</h3>
      <pre tabindex="0"><code>${code}</code></pre>
      <p>Start with docs/start.md; this shop is the folder example/.</p>
    </div>
  </div>
</section>
<p class="toast" role="status" hidden></p>
${script(nonce)}
${new Html(model.toolbar)}
</body>
</html>
`.toString()
}

/** What a page without Target's offers says about it. */
const outcome = ({ offers, timeline }: PageModel) => {
  const reasons = [...new Set(offers.map(({ reason }) => reason))].join(', ')
  return `sent after ${timeline.answered.toFixed(0)} ms with ${offers.some(({ type }) => type === undefined) ? 'fallbacks' : 'offers'} (${reasons})`
}

const code = `app.get('/', { config: { target: ['hero'] } }, async (request, reply) => {   // Target's call starts
  const products = await fetchProducts()                                     // and runs beside this
  const hero = await request.target.content('hero', defaultHero)             // never rejects
  return reply.type('text/html').send(renderPage({ products, hero }))
})`

/** How long the page would wait if its handler called Target in sequence. */
const inTurn = ({ asked, listed, target }: Timeline) => target.duration === undefined
  ? 'It has not ended yet: in sequence, the page would still wait.'
  : `In sequence they would have taken ${(listed - asked + target.duration).toFixed(0)} ms.`

const current = html` aria-current="page"`

/** An mbox's content, with the event token that the page's script reports. */
const place = (mbox: string, token: string | undefined, content: Html | undefined) =>
  token === undefined ? content : html`<div id="${mbox}" data-token="${token}">${content}</div>`

/** With JavaScript, a click on the hero's own button counts, in place, and so does the banner's display once it is visible. */
const script = (nonce: string) => html`<script nonce="${nonce}">
const [hero, banner, toast, form] = ['#hero', '#banner', '.toast', '#click'].map((selector) => document.querySelector(selector))
let hiding
const say = (text) => {
  toast.textContent = text
  toast.hidden = false
  clearTimeout(hiding)
  hiding = setTimeout(() => { toast.hidden = true }, 4000)
}
const count = async () => {
  const response = await fetch(form.action, { method: 'POST', headers: { accept: 'application/json' }, body: new URLSearchParams(new FormData(form)) })
  const { count } = await response.json()
  const text = count + (count === 1 ? ' click' : ' clicks') + ' counted for this hero'
  form.querySelector('output').textContent = text
  say('Sent to Target: ' + text)
}
hero?.addEventListener('click', (event) => { if (form && event.target.closest('[data-click]')) count() })
form?.addEventListener('submit', (event) => {
  event.preventDefault()
  count()
})
if (banner) new IntersectionObserver(([{ isIntersecting }], observer) => {
  if (!isIntersecting) return
  observer.disconnect()
  navigator.sendBeacon('/target/notifications', JSON.stringify({ notifications: [{ type: 'display', mbox: { name: 'banner' }, tokens: [banner.dataset.token] }] }))
}).observe(banner)
</script>`

function card ({ id, name, text, price, listPrice }: Product, { showSavings }: CheckoutFlags): Html {
  return html`
    <li class="card">
      <div class="card__art card__art--${id}">${productArt(id)}</div>
      <h3><a href="/product?id=${id}">${name}</a></h3>
      <p>${text}</p>
      <p class="card__price">€${price}${showSavings ? html` <s>€${listPrice}</s> <em>save €${listPrice - price}</em>` : undefined}</p>
    </li>`
}

/** A row of the table of decisions. The attributes are for the report of `--once`. */
function decision ({ mbox, responseTokens, reason }: MboxOffer): Html {
  const activity = text(responseTokens['activity.name'])
  const experience = text(responseTokens['experience.name'])
  const seen = experience === '' ? html`` : html` data-mbox="${mbox}" data-experience="${experience}"`
  return html`<tr${seen}><td><code>${mbox}</code></td><td>${activity || '–'}</td><td>${experience || 'the page’s own'}</td><td>${reason}</td></tr>`
}

/** A response token's value, which may be anything. */
const text = (token: unknown) => typeof token === 'string' ? token : ''
