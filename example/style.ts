/** The page's style sheet. The classes `hero--…` and `banner--…` are those of the sample activities' offers. */
import { morning, night } from './art.ts'
import { Html } from './html.ts'

export const style = new Html(`
:root { --ink: #22261f; --soft: #63685c; --paper: #faf7f0; --line: #e4dfd2; --pine: #2f5749; --rust: #a94a26; --deep: #14211d;
  --serif: 'Iowan Old Style', 'Palatino Linotype', Palatino, 'Book Antiqua', Georgia, serif;
  --sans: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif }
* { box-sizing: border-box; margin: 0 }
html { scroll-behavior: smooth; background: var(--deep) }
body { font: 16px/1.55 var(--sans); color: var(--ink); background: var(--paper) }
a { color: inherit }
button { font: inherit; cursor: pointer }
:focus-visible { outline: 3px solid #e9b44c; outline-offset: 2px }

.banner { padding: .6rem 1.5rem; text-align: center; font-size: .9rem; color: #eef3ee; background: var(--pine) }
.banner--gold { color: #3a2800; background: linear-gradient(90deg, #e5b95a, #f6dd95, #e5b95a) }
.banner--firefox { background: #7c3f1d }
.banner--chrome { background: #365a75 }
.banner--safari { background: #3e5f86 }

.top { display: flex; align-items: center; gap: 1rem 2rem; max-width: 76rem; margin: auto; padding: 1.1rem 1.5rem; flex-wrap: wrap }
.top__logo { display: flex; align-items: center; gap: .55rem; font: 600 1.3rem var(--serif); text-decoration: none; color: var(--pine) }
.logo { width: 2rem; height: 2rem }
.top__promise { margin-left: auto; font-size: .9rem; color: var(--soft) }
.top__member { display: flex; padding: 3px; border-radius: 99px; background: #ece7da; font-size: .85rem }
.top__member a { padding: .3rem .9rem; border-radius: 99px; text-decoration: none; color: var(--soft) }
.top__member a[aria-current] { color: var(--ink); background: #fff; box-shadow: 0 1px 3px #0002 }

main { max-width: 76rem; margin: auto; padding: 0 1.5rem 4.5rem }
.hero { display: flex; flex-direction: column; align-items: flex-start; justify-content: center; min-height: 27rem;
  padding: 3rem clamp(1.5rem, 6vw, 5rem) 4rem; border-radius: 1.25rem; color: #fff; background: var(--pine) center bottom / cover }
.hero--a { color: #33221f; background-image: ${morning} }
.hero--b { background-image: linear-gradient(90deg, #0b153090 10%, #0b153000 65%), ${night} }
.hero__eyebrow { font-size: .8rem; font-weight: 600; letter-spacing: .12em; text-transform: uppercase; opacity: .85 }
.hero__title { max-width: 13em; margin: .5rem 0 .9rem; font: 600 clamp(2.3rem, 5vw, 3.7rem)/1.08 var(--serif); text-wrap: balance }
.hero__text { max-width: 29em; font-size: 1.1rem }
.hero__action { margin-top: 1.8rem; padding: .8rem 1.7rem; border: 0; border-radius: 99px; font-weight: 600; color: #fff; background: var(--rust); transition: filter .15s }
.hero--b .hero__action { color: #241a05; background: #f2b84b }
.hero__action:hover { filter: brightness(1.1) }

.shelf { padding-top: 3.5rem }
.shelf h2 { margin-bottom: 1.4rem; font: 600 1.8rem var(--serif) }
.products { display: grid; grid-template-columns: repeat(3, 1fr); gap: 2rem 1.6rem; padding: 0; list-style: none }
.card__art { display: grid; place-items: center; height: clamp(11rem, 22vw, 16rem); margin-bottom: .9rem; border-radius: 1rem; background: #efe9dc }
.card__art svg { width: clamp(7rem, 15vw, 10.5rem); transition: transform .25s }
.card:hover svg { transform: translateY(-4px) }
.card__art--jacket, .card__art--bottle { background: #e3ebe4 }
.card__art--shell { background: #e2eaf0 }
.card__art--tent, .card__art--lantern { background: #f6ead0 }
.card h3 { font: 600 1.15rem var(--serif) }
.card p { font-size: .92rem; color: var(--soft) }
.card .card__price { margin-top: .35rem; font-size: 1rem; font-weight: 600; color: var(--ink) }
.card__price s { font-weight: 400; color: #757a6d }
.card__price em { margin-left: .3rem; padding: .1rem .55rem; border-radius: 99px; font-size: .78rem; font-style: normal; color: #7c2f10; background: #f8dfcf }

.behind { color: #dfe8e2; background: var(--deep) }
.behind__inner { max-width: 76rem; margin: auto; padding: 4rem 1.5rem 5.5rem }
.behind__eyebrow { font-size: .8rem; font-weight: 600; letter-spacing: .12em; text-transform: uppercase; color: #e9b44c }
.behind h2 { margin: .3rem 0 .5rem; font: 600 2rem var(--serif); color: #fff }
.behind__text { max-width: 40em; color: #a9bab1 }
.behind__timeline { margin: 2rem 0; padding: 1.5rem; border-radius: 1rem; background: #1c2e28; overflow-x: auto }
.behind__timeline svg { display: block; width: 100%; min-width: 38rem; font: 14px var(--sans) }
.grid { stroke: #ffffff14 }
.tick { font-size: 12px; fill: #8da39a }
.label { fill: #dfe8e2 }
.bar--page { fill: #5f9b84 }
.bar--target { fill: #e9b44c }
.bar--held { fill: #e2694a }
.caption { font-weight: 600; fill: #14211d }
.caption--beside { fill: #f0f5f1 }
.behind__tables { display: flex; flex-wrap: wrap; gap: 2rem 4rem; align-items: flex-start }
table { flex: 1 1 30rem; border-collapse: collapse; font-size: .92rem }
th, td { padding: .6rem 1rem .6rem 0; text-align: left; border-bottom: 1px solid #ffffff1c }
th { font-weight: 500; color: #8da39a }
code { font: .9em ui-monospace, Menlo, Consolas, monospace }
.behind__actions { display: grid; gap: 1rem; flex: 1 1 20rem }
.behind__actions form { display: flex; align-items: center; gap: 1rem; line-height: 1.35; font-size: .92rem; color: #a9bab1 }
.behind__actions button { flex: none; width: 9.5rem; padding: .6rem 0; border: 1px solid #e9b44c; border-radius: 99px; font-weight: 600; color: #241a05; background: #e9b44c }
.behind__actions .quiet { color: #e9b44c; background: none }
.behind__actions button:hover { filter: brightness(1.1) }

.pill { position: fixed; right: 1.2rem; bottom: 1.2rem; padding: .55rem 1.1rem; border-radius: 99px; font-size: .85rem; text-decoration: none; color: #dfe8e2; background: #14211df2; box-shadow: 0 4px 18px #0003; border: 1px solid #ffffff26 }
.pill b { color: #e9b44c }
@media (max-width: 40rem) { .products { grid-template-columns: 1fr 1fr; gap: 1.6rem 1rem } .top__promise { margin-left: 0; order: 3 } .top__member { margin-left: auto } .hero { min-height: 23rem }
  .top { gap: .5rem; padding: .9rem 1.5rem } .top__logo { font-size: 1.1rem } .top__member { font-size: .78rem } .top__member a { padding: .3rem .6rem } }
@media (max-width: 56rem) { .hero--a { background-image: linear-gradient(#f7d9b0cc 60%, #f7d9b000 85%), ${morning} } }
@media (prefers-reduced-motion: reduce) { * { transition: none !important; scroll-behavior: auto !important } }
`)
