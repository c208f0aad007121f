/** The page's style sheet. The classes `hero--…` and `banner--…` are those of the sample activities' offers. */
import { morning, night } from './art.ts'
import { Html } from './html.ts'

export const style = new Html(`
:root { --ink: #22261f; --soft: #63685c; --paper: #faf7f0; --line: #e4dfd2; --pine: #2f5749; --rust: #a94a26; --deep: #14211d; --mist: #f0ead9; --tab: #ece7da; --tab-on: #fff; --was: #757a6d; --save: #7c2f10; --save-back: #f8dfcf; --dim: 1;
  --serif: 'Iowan Old Style', 'Palatino Linotype', Palatino, 'Book Antiqua', Georgia, serif;
  --sans: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif }
@media (prefers-color-scheme: dark) { :root { --ink: #eae6db; --soft: #a8ad9f; --paper: #1b201d; --line: #38403b; --pine: #8fc3ad; --rust: #c2633d; --mist: #2a312c; --tab: #2a312c; --tab-on: #46504a; --was: #8f9588; --save: #ffc9a8; --save-back: #4a2a1a; --dim: .82 } }
* { box-sizing: border-box; margin: 0 }
html { scroll-behavior: smooth; background: var(--deep) }
body { font: 16px/1.55 var(--sans); color: var(--ink); background: var(--paper) }
a { color: inherit }
button { font: inherit; cursor: pointer }
:focus-visible { outline: 3px solid #e9b44c; outline-offset: 2px }

.banner { padding: .6rem 1.5rem; text-align: center; font-size: .9rem; color: #eef3ee; background: #2f5749 }
.banner--gold { color: #3a2800; background: linear-gradient(90deg, #e5b95a, #f6dd95, #e5b95a) }
.banner--firefox { background: #7c3f1d }
.banner--chrome { background: #365a75 }
.banner--safari { background: #3e5f86 }

.top { display: flex; align-items: center; gap: 1rem 2rem; max-width: 76rem; margin: auto; padding: 1.1rem 1.5rem; flex-wrap: wrap }
.top__logo { display: flex; align-items: center; gap: .55rem; font: 600 1.3rem var(--serif); text-decoration: none; color: var(--pine) }
.logo { width: 2rem; height: 2rem }
.top__promise { margin-left: auto; font-size: .9rem; color: var(--soft) }
.top__member { display: flex; padding: 3px; border-radius: 99px; background: var(--tab); font-size: .85rem }
.top__member a { padding: .3rem .9rem; border-radius: 99px; text-decoration: none; color: var(--soft) }
.top__member a[aria-current] { color: var(--ink); background: var(--tab-on); box-shadow: 0 1px 3px #0002 }

main { max-width: 76rem; margin: auto; padding: 0 1.5rem 4.5rem }
.hero { display: flex; flex-direction: column; align-items: flex-start; justify-content: center; min-height: 27rem;
  padding: 3rem clamp(1.5rem, 6vw, 5rem) 4rem; border-radius: 1.25rem; color: #fff; background: #2f5749 center bottom / cover }
.hero--a { color: #33221f; background-image: ${morning} }
.hero--b { background-image: linear-gradient(90deg, #0b153090 10%, #0b153000 65%), ${night} }
.hero__eyebrow { font-size: .8rem; font-weight: 600; letter-spacing: .12em; text-transform: uppercase; opacity: .85 }
.hero__title { max-width: 13em; margin: .5rem 0 .9rem; font: 600 clamp(2.3rem, 5vw, 3.7rem)/1.08 var(--serif); text-wrap: balance }
.hero__text { max-width: 29em; font-size: 1.1rem }
.hero__action { margin-top: 1.8rem; padding: .8rem 1.7rem; border: 0; border-radius: 99px; font-weight: 600; color: #fff; background: #a94a26; transition: filter .15s }
.hero--b .hero__action { color: #241a05; background: #f2b84b }
.hero__action:hover { filter: brightness(1.1) }

.shelf { padding-top: 3.5rem }
.shelf h2 { margin-bottom: 1.4rem; font: 600 1.8rem var(--serif) }
.products { display: grid; grid-template-columns: repeat(3, 1fr); gap: 2rem 1.6rem; padding: 0; list-style: none }
.card__art { display: grid; place-items: center; height: clamp(11rem, 22vw, 16rem); margin-bottom: .9rem; border-radius: 1rem; background: #efe9dc }
.card__art { filter: brightness(var(--dim)) }
.card h3 a { text-decoration: none }
.card h3 a::after { content: ''; position: absolute; inset: 0 }
.card { position: relative }
.card__art svg { width: clamp(7rem, 15vw, 10.5rem); transition: transform .25s }
.card:hover svg { transform: translateY(-4px) }
.card__art--jacket, .card__art--bottle { background: #e3ebe4 }
.card__art--shell { background: #e2eaf0 }
.card__art--tent, .card__art--lantern { background: #f6ead0 }
.card h3 { font: 600 1.15rem var(--serif) }
.card p { font-size: .92rem; color: var(--soft) }
.card .card__price { margin-top: .35rem; font-size: 1rem; font-weight: 600; color: var(--ink) }
.card__price s { font-weight: 400; color: var(--was) }
.card__price em { margin-left: .3rem; padding: .1rem .55rem; border-radius: 99px; font-size: .78rem; font-style: normal; color: var(--save); background: var(--save-back) }

.behind { color: #dfe8e2; background: var(--deep) }
.behind__inner { max-width: 76rem; margin: auto; padding: 4rem 1.5rem 5.5rem }
.behind__eyebrow { font-size: .8rem; font-weight: 600; letter-spacing: .12em; text-transform: uppercase; color: #e9b44c }
.behind h2 { margin: .3rem 0 .5rem; font: 600 2rem var(--serif); color: #fff }
.behind__text { max-width: 40em; color: #a9bab1 }
.behind__timeline { margin: 2rem 0; padding: clamp(1rem, 3vw, 1.5rem); border-radius: 1rem; background: #1c2e28 }
.behind__timeline svg { display: block; width: 100%; font: 14px var(--sans) }
.behind__timeline .compact { display: none }
.behind__why { max-width: 40em; font-size: .92rem; color: #a9bab1 }
.behind a { color: #e9b44c }
.behind h3 { margin: 2.5rem 0 .4rem; font: 600 1.3rem var(--serif); color: #fff }
.behind__faults p, .behind__code p { margin-bottom: .8rem; color: #a9bab1 }
.behind__faults form { display: flex; flex-wrap: wrap; gap: .7rem }
.behind__faults button { min-width: 9.5rem; padding: .6rem 1.2rem; border: 1px solid #e9b44c; border-radius: 99px; font-weight: 600; color: #241a05; background: #e9b44c }
.behind__faults .quiet { color: #e9b44c; background: none }
.behind__code pre { padding: 1.1rem 1.3rem; border-radius: .8rem; background: #1c2e28; overflow-x: auto; line-height: 1.6 }
.behind__code pre + p { margin-top: .6rem; font-size: .92rem }
.product { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1.5rem 3.5rem; align-items: center; padding-top: 1rem }
.product h1 { font: 600 clamp(2rem, 4vw, 2.8rem)/1.1 var(--serif) }
.product p { margin-top: .7rem }
.product .card__art { height: clamp(16rem, 34vw, 24rem); margin: 0 }
.product__price { font-size: 1.4rem; font-weight: 600 }
#promise { color: var(--pine); font-weight: 600 }
.advice { padding: .7rem 1rem; border-left: 4px solid var(--rust); background: var(--mist) }
.toast { position: fixed; left: 50%; top: 1rem; translate: -50%; z-index: 2; max-width: calc(100vw - 2rem); padding: .6rem 1.2rem; border-radius: 99px; color: #dfe8e2; background: #14211d; box-shadow: 0 4px 18px #0005 }
.grid { stroke: #ffffff14 }
.tick { font-size: 12px; fill: #8da39a }
.label { fill: #dfe8e2 }
.bar--page { fill: #5f9b84 }
.bar--target { fill: #e9b44c }
.bar--held { fill: #e2694a }
.caption { font-weight: 600; fill: #14211d }
.caption--beside { fill: #f0f5f1 }
.behind__tables { display: flex; flex-wrap: wrap; gap: 2rem 4rem; align-items: flex-start }
table { flex: 1 1 min(30rem, 100%); min-width: 0; border-collapse: collapse; font-size: .92rem }
th, td { padding: .6rem 1rem .6rem 0; overflow-wrap: break-word; text-align: left; border-bottom: 1px solid #ffffff1c }
th { font-weight: 500; color: #8da39a }
code { font: .9em ui-monospace, Menlo, Consolas, monospace }
.behind__actions { display: grid; gap: 1rem; flex: 1 1 min(20rem, 100%); min-width: 0 }
.behind__actions form { display: flex; align-items: center; gap: 1rem; line-height: 1.35; font-size: .92rem; color: #a9bab1 }
.behind__actions button { flex: none; width: 9.5rem; padding: .6rem 0; border: 1px solid #e9b44c; border-radius: 99px; font-weight: 600; color: #241a05; background: #e9b44c }
.behind__actions .quiet { color: #e9b44c; background: none }
.behind__actions button:hover { filter: brightness(1.1) }

.pill { position: sticky; bottom: 1.2rem; z-index: 1; display: block; width: fit-content; margin: 2.5rem 0 -3rem auto; padding: .55rem 1.1rem; border-radius: 99px; font-size: .85rem; text-decoration: none; color: #dfe8e2; background: #14211df2; box-shadow: 0 4px 18px #0003; border: 1px solid #ffffff26 }
.pill b { color: #e9b44c }
@media (max-width: 40rem) { .behind__timeline svg { display: none } .behind__timeline .compact { display: block } .hero--b { background-position: 0 0, 74% bottom } .pill { bottom: 6.6rem } .behind table { font-size: .8rem } .behind th, .behind td { padding-right: .5rem }
  .behind__actions form { flex-wrap: wrap }  .products { grid-template-columns: 1fr 1fr; gap: 1.6rem 1rem } .top__promise { margin-left: 0; order: 3 } .top__member { margin-left: auto } .hero { min-height: 23rem }
  .top { gap: .5rem; padding: .9rem 1.5rem } .top__logo { font-size: 1.1rem } .top__member { font-size: .78rem } .top__member a { padding: .3rem .6rem } }
@media (max-width: 56rem) { .hero--a { background-image: linear-gradient(#f7d9b0cc 60%, #f7d9b000 85%), ${morning} } }
@media (prefers-reduced-motion: reduce) { * { transition: none !important; scroll-behavior: auto !important } }
`)
