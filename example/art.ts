/** Pictures, drawn inline so that the page needs nothing from elsewhere. */
import { html, type Html } from './html.ts'

export const logo = html`<svg class="logo" viewBox="0 0 32 32" aria-hidden="true"><path d="M2 26 12 8l5 8 3-5 10 15Z" fill="currentColor"/><path d="M12 8l3.2 5.1L12.6 16l-2-1.6-2.4.9Z" fill="#f6f1e7"/></svg>`

const drawings: Record<string, Html> = {
  sweater: html`<path d="M44 30 28 38 16 82l14 5 8-26v39h44V61l8 26 14-5-12-44-16-8c-4 8-28 8-32 0Z" fill="#b4552f"/><path d="M44 30c4 8 28 8 32 0l4 2c-4 12-36 12-40 0Z" fill="#8e3f20"/><path d="M38 66h44M38 74h44" stroke="#f3d9b8" stroke-width="3" stroke-dasharray="4 4"/><path d="M38 94h44v6H38Z" fill="#8e3f20"/>`,
  jacket: html`<path d="M46 26 30 34 17 84l14 4 7-22v36h44V66l7 22 14-4-13-50-16-8-6 6H52Z" fill="#3d6a5c"/><path d="M38 48h44M38 62h44M38 76h44M38 90h44M26 56l10 3M94 56l-10 3" stroke="#2b4d42" stroke-width="3"/><path d="M60 32v70" stroke="#e9b44c" stroke-width="3"/><path d="M46 26h28l-6 10H52Z" fill="#2b4d42"/>`,
  shell: html`<path d="M44 32 29 40 17 86l14 4 7-22v34h44V68l7 22 14-4-12-46-15-8Z" fill="#3b6f9e"/><path d="M44 34c0-22 32-22 32 0l-6 8H50Z" fill="#2b5379"/><path d="M50 38c0-12 20-12 20 0l-4 4H54Z" fill="#16324c"/><path d="M60 44v58M44 80l10-5M76 80l-10-5" stroke="#cfe3f2" stroke-width="3"/>`,
  tent: html`<path d="M60 28 108 98H12Z" fill="#d98e2b"/><path d="M60 28 84 98H36Z" fill="#b66f17"/><path d="M60 46 74 98H46Z" fill="#fbe6b5"/><path d="M60 46v52" stroke="#8a5412" stroke-width="2"/><path d="M6 98h108M60 28l-5-8M60 28l5-8" stroke="#4b3a25" stroke-width="3" stroke-linecap="round"/>`,
  lantern: html`<path d="M44 40a16 18 0 0 1 32 0" fill="none" stroke="#3c3a36" stroke-width="4"/><path d="M46 40h28l4 8H42Z" fill="#3c3a36"/><path d="M42 48h36l4 38H38Z" fill="#fdeeba"/><path d="M60 56c10 10 8 24 0 26-8-2-10-16 0-26Z" fill="#ee9b2f"/><path d="M60 66c4 5 4 13 0 15-4-2-4-10 0-15Z" fill="#fff3c4"/><path d="M36 86h48v12H36Z" fill="#3c3a36"/><path d="M51 48 49 86M69 48l2 38" stroke="#3c3a36" stroke-width="2"/>`,
  bottle: html`<path d="M50 20h20v12H50Z" fill="#2f3b3a"/><path d="M52 32h16v6c8 4 12 9 12 18v42a6 6 0 0 1-6 6H46a6 6 0 0 1-6-6V56c0-9 4-14 12-18Z" fill="#8fa8a3"/><path d="M40 62h40v22H40Z" fill="#f6f1e7"/><path d="M47 80l8-12 4 6 3-4 9 10Z" fill="#3d6a5c"/><path d="M46 52v46" stroke="#c9d6d3" stroke-width="3" stroke-linecap="round"/>`
}

/** The picture of a product; a new one without a picture has none. */
export const productArt = (id: string): Html | undefined =>
  Object.hasOwn(drawings, id) ? html`<svg viewBox="0 0 120 120" aria-hidden="true">${drawings[id]}</svg>` : undefined

/** A drawing as a CSS image. */
const image = (drawing: Html) => `url("data:image/svg+xml,${encodeURIComponent(drawing.toString())}")`

const scene = (drawing: Html) => image(html`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 480" preserveAspectRatio="xMidYMax slice">${drawing}</svg>`)

/** Morning, in layers. */
export const morning = scene(html`
<defs><linearGradient id="g" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="#f7d9b0"/><stop offset=".55" stop-color="#f4b58a"/><stop offset="1" stop-color="#d9806a"/></linearGradient></defs>
<rect width="1200" height="480" fill="url(#g)"/>
<circle cx="850" cy="150" r="70" fill="#fff1cf"/>
<path d="M0 372 170 330 330 368 480 300 600 340 720 236 800 290 960 160 1080 250 1200 190V480H0Z" fill="#c77b74"/>
<path d="M0 398 150 372 320 400 500 350 640 390 790 290 920 360 1060 270 1200 340V480H0Z" fill="#93576a"/>
<path d="M0 424 200 402 380 428 560 380 740 424 900 350 1050 410 1200 352V480H0Z" fill="#5b3f58"/>
<path d="M0 456 200 438 420 460 640 420 860 455 1040 412 1200 445V480H0Z" fill="#33293f"/>`)

const stars = Array.from({ length: 70 }, (_, position) => {
  // Scattered, but the same for every visitor: multiples of irrational numbers spread evenly.
  const [x, y, size] = [0.754877, 0.569840, 0.618034].map((step) => (position + 1) * step % 1)
  return html`<circle cx="${(x! * 1200).toFixed(0)}" cy="${(y! * 290).toFixed(0)}" r="${(0.6 + size! * 1.3).toFixed(1)}"/>`
})

/** A clear night with a lit tent. */
export const night = scene(html`
<defs><linearGradient id="g" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="#0b1530"/><stop offset=".7" stop-color="#1f3a5f"/><stop offset="1" stop-color="#35607c"/></linearGradient>
<radialGradient id="l"><stop offset="0" stop-color="#ffd27a" stop-opacity=".55"/><stop offset="1" stop-color="#ffd27a" stop-opacity="0"/></radialGradient></defs>
<rect width="1200" height="480" fill="url(#g)"/><g fill="#fff" opacity=".85">${stars}</g>
<path d="M1024 68A44 44 0 1 0 1052 122A36 36 0 1 1 1024 68Z" fill="#f4ecd2"/>
<path d="M0 330 170 230 300 310 460 200 640 330 780 250 930 330 1060 240 1200 320V480H0Z" fill="#16304d"/>
<path d="M0 400 220 340 420 395 640 345 860 395 1040 350 1200 390V480H0Z" fill="#0f2238"/>
<circle cx="850" cy="392" r="140" fill="url(#l)"/><path d="M850 330 920 430H780Z" fill="#f2a93b"/><path d="M850 330 876 430H824Z" fill="#ffe2a0"/>
<path d="M0 445 240 425 560 440 900 420 1200 440V480H0Z" fill="#081524"/>`)
