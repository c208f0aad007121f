/** The style sheet, for light and dark, wide and narrow. */
export const style = `
:root { color-scheme: light dark; --ink: #1b232c; --soft: #56616e; --paper: #f6f7f9; --card: #fff; --line: #dde2e8; --link: #0b5cad; --bar: #16202c; --bar-ink: #e9eef5;
  --good: #0b6b3a; --good-back: #e0f3e7; --bad: #a4240f; --bad-back: #fde8e3; --over: #7a4a00; --over-back: #fcecd0; --plain: #4a5562; --plain-back: #e9edf2;
  --queue: #9aa7b5; --wait: #d9902f; --body: #2f7d5b; --ask: #4a78c2; --page: #b9c4d0; --error: #c2401f }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --soft: #9eabb9; --paper: #11171e; --card: #1a222c; --line: #2d3845; --link: #7db7f2; --bar: #0a0f15; --bar-ink: #e9eef5;
  --good: #7fdba6; --good-back: #12392a; --bad: #ff9d88; --bad-back: #47201a; --over: #f7c873; --over-back: #43310f; --plain: #b5c0cc; --plain-back: #2a3441;
  --queue: #6c7987; --wait: #e0a14a; --body: #4fae85; --ask: #7aa4e8; --page: #46525f; --error: #e8664a } }
* { box-sizing: border-box; margin: 0 }
[hidden] { display: none !important }
body { font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; color: var(--ink); background: var(--paper) }
a { color: var(--link); text-underline-offset: 2px }
:focus-visible { outline: 3px solid #e9a23b; outline-offset: 2px; border-radius: 3px }
main:focus { outline: none }
.skip { position: absolute; left: -99rem }
.skip:focus { left: .5rem; top: .5rem; z-index: 2; padding: .4rem .8rem; background: var(--card) }
code, pre { font: .88em/1.45 ui-monospace, Menlo, Consolas, monospace }
pre { overflow: auto; max-height: 28rem; padding: .8rem; border: 1px solid var(--line); border-radius: 8px; background: var(--paper); white-space: pre-wrap; overflow-wrap: anywhere }

.bar { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem 1.6rem; padding: .7rem clamp(.9rem, 3vw, 2rem); color: var(--bar-ink); background: var(--bar) }
.brand { display: flex; align-items: center; gap: .55rem; font-weight: 650; color: inherit; text-decoration: none }
.mark { width: .95rem; height: .95rem; border-radius: 50%; border: 4px solid #e4572e; background: var(--bar-ink); background-clip: content-box; padding: 1px }
.bar nav { display: flex; flex-wrap: wrap; gap: .2rem }
.bar nav a { padding: .3rem .75rem; border-radius: 99px; color: inherit; text-decoration: none }
.bar nav a:hover { background: #ffffff1c }
.bar nav a[aria-current] { background: #ffffff2e; font-weight: 600 }
.bar form { margin-left: auto }
.bar .plain { color: inherit }
.notice { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; padding: .6rem clamp(.9rem, 3vw, 2rem); color: var(--over); background: var(--over-back); overflow-wrap: anywhere }
main > .notice { margin: .8rem 0; padding: .6rem .9rem; border-radius: 8px }
main { max-width: 82rem; margin: auto; padding: 1.4rem clamp(.9rem, 3vw, 2rem) 5rem }
h1 { font-size: 1.6rem; line-height: 1.2; overflow-wrap: anywhere }
h2 { margin: 2.2rem 0 .7rem; font-size: 1.2rem }
h3 { font-size: 1rem; overflow-wrap: anywhere }
h3 .chip, h2 .chip { vertical-align: 1px }
h4 { margin: 1rem 0 .3rem }
p { margin: .35rem 0 }
.hint { font-size: .88rem; color: var(--soft); font-weight: 400 }
.url { display: block; font-size: .85rem; color: var(--soft); overflow-wrap: anywhere }
.empty { padding: 1.2rem; border: 1px dashed var(--line); border-radius: 10px; color: var(--soft) }
.problem { padding: .5rem .8rem; border-left: 4px solid var(--bad); border-radius: 4px; color: var(--bad); background: var(--bad-back); overflow-wrap: anywhere }
.head { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: .3rem 1rem }
.live { color: var(--soft); font-size: .9rem }

button, input, select, textarea { font: inherit; color: inherit }
button { min-height: 2.1rem; padding: .25rem .85rem; border: 1px solid var(--line); border-radius: 7px; background: var(--card); cursor: pointer }
button:hover { border-color: var(--link) }
button.plain { border-color: transparent; background: none; text-decoration: underline; text-underline-offset: 2px }
input, select, textarea { min-height: 2.1rem; padding: .25rem .6rem; border: 1px solid var(--line); border-radius: 7px; background: var(--card) }
textarea { display: block; width: 100%; margin: .2rem 0 .4rem; font: .88em/1.45 ui-monospace, Menlo, Consolas, monospace }
.filters { display: flex; flex-wrap: wrap; align-items: end; gap: .6rem 1rem; margin: 1rem 0 }
.filters label { font-size: .85rem; color: var(--soft) }
.filters input:not([type=checkbox]), .filters select { display: block; color: var(--ink); width: 100% }
.filters label:first-child { flex: 1 1 16rem; max-width: 26rem }
.filters .check { display: flex; align-items: center; gap: .4rem; min-height: 2.1rem }
.filters [type=checkbox] { min-height: 0; width: 1.1rem; height: 1.1rem }
.chip { display: inline-block; max-width: 100%; padding: .05rem .5rem; border-radius: 99px; font-size: .82rem; font-weight: 500; color: var(--plain); background: var(--plain-back); overflow-wrap: anywhere }
.chip--good { color: var(--good); background: var(--good-back) }
.chip--bad { color: var(--bad); background: var(--bad-back) }
.chip--override { color: var(--over); background: var(--over-back) }

table { width: 100%; border-collapse: collapse }
th { text-align: left; font-weight: 500; font-size: .85rem; color: var(--soft) }
th, td { padding: .5rem .9rem .5rem 0; vertical-align: top; border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.pages td:first-child, .pages th:first-child { padding-left: .7rem; white-space: nowrap; font-variant-numeric: tabular-nums }
.pages tr.fault td { background: var(--bad-back) }
.pages tr.fault td:first-child { box-shadow: inset 4px 0 var(--bad) }
.faults { display: block; font-size: .85rem; font-weight: 600; color: var(--bad) }
.slow { color: var(--bad); font-weight: 600 }

.facts { display: flex; flex-wrap: wrap; gap: .6rem 2rem; margin: .7rem 0 }
.facts div { min-width: 5rem; max-width: 100% }
.facts .wide { flex-basis: 100% }
dt { font-size: .82rem; color: var(--soft) }
dd { overflow-wrap: anywhere }
.local { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 1rem 0; padding: .55rem 0; border-bottom: 1px solid var(--line); background: var(--paper) }
section { scroll-margin-top: 3.5rem }
.offer, .call { margin: .8rem 0; padding: .9rem 1.1rem; border: 1px solid var(--line); border-radius: 10px; background: var(--card) }
.offer > h2:first-child { margin-top: 0 }
.verdict { font-size: 1.05rem; font-weight: 550; overflow-wrap: anywhere }
details { margin: .45rem 0 }
summary { width: fit-content; padding: .15rem 0; cursor: pointer; color: var(--link) }
.copy pre { margin-top: .5rem }
.rules { padding: 0; margin: .5rem 0; list-style: none; counter-reset: rule }
.rule { counter-increment: rule; margin: .5rem 0; padding: .5rem .9rem; border-left: 4px solid var(--line) }
.rule > p:first-child::before { content: counter(rule) '. '; color: var(--soft) }
.rule--matched { border-color: var(--good) }
.rule--not-matched { border-color: var(--bad) }
.rule--matched .outcome { color: var(--good) }
.rule--not-matched .outcome { color: var(--bad) }
.bucket { display: block; width: min(24rem, 100%); height: 10px; margin: .3rem 0; border-radius: 5px }
.bucket .all { fill: var(--plain-back) }
.bucket .share { fill: var(--ask) }
.bucket .place { fill: var(--bad) }
.conditions, .plainlist { padding-left: 1.2rem; list-style: none }
.conditions li::before, .plainlist li.yes::before, .plainlist li.no::before { display: inline-block; width: 1.2rem; margin-left: -1.2rem }
li.yes::before { content: '✓' / 'holds'; color: var(--good) }
li.no::before { content: '✗' / 'does not hold'; color: var(--bad) }
.actual { margin-left: .4rem; padding: 0 .4rem; border-radius: 4px; font-size: .9em; background: var(--plain-back) }

.timeline { padding: .8rem 1rem; border: 1px solid var(--line); border-radius: 10px; background: var(--card) }
.row { display: grid; grid-template-columns: 10.5rem 1fr minmax(11rem, 16rem); gap: .2rem .9rem; align-items: center; padding: .12rem 0 }
.row svg { width: 100%; height: 20px }
.row .label { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: .9rem }
.row .time, .row--axis span { font-size: .82rem; color: var(--soft); font-variant-numeric: tabular-nums }
.grid { stroke: var(--line); vector-effect: non-scaling-stroke }
.axis line { stroke: var(--soft); vector-effect: non-scaling-stroke }
.seg--page { fill: var(--page) } .seg--queue { fill: var(--queue) } .seg--wait { fill: var(--wait) } .seg--body { fill: var(--body) } .seg--ask { fill: var(--ask) } .seg--mark { fill: var(--ink) } .seg--error { fill: var(--error) }
.legend { display: flex; flex-wrap: wrap; align-items: center; gap: .1rem .4rem; font-size: .82rem; color: var(--soft) }
.key { width: .9rem; height: .6rem; margin-left: .7rem; border-radius: 2px }
.key--queue { background: var(--queue) } .key--wait { background: var(--wait) } .key--body { background: var(--body) } .key--ask { background: var(--ask) } .key--page { background: var(--page) }

.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .8rem; margin: 1rem 0 }
.chart { padding: .6rem .8rem; border: 1px solid var(--line); border-radius: 10px; background: var(--card) }
.chart figcaption { display: flex; justify-content: space-between; gap: .5rem; font-size: .85rem; color: var(--soft) }
.chart b { color: var(--ink); font-variant-numeric: tabular-nums; white-space: nowrap }
.chart svg { display: block; width: 100%; height: 3.2rem }
.line { fill: none; stroke: var(--ask); stroke-width: 1.5; vector-effect: non-scaling-stroke }
.area { fill: var(--ask); opacity: .18 }
.buttons { display: flex; flex-wrap: wrap; gap: .4rem; margin: .5rem 0 }
.override label { font-size: .88rem; color: var(--soft) }
.inline { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center; margin: .4rem 0 }
td form { margin: 0 0 .3rem }
.login { max-width: 26rem; padding-top: 12vh }
.login label { display: block; margin: 1rem 0 .3rem }
.login input { width: 100%; margin-bottom: .8rem }

@media (max-width: 46rem) {
  .pages thead, .experiences thead { position: absolute; left: -99rem }
  .pages, .pages tbody, .pages tr, .pages td, .experiences, .experiences tbody, .experiences tr, .experiences td { display: block }
  .pages tr, .experiences tr { margin: .6rem 0; border: 1px solid var(--line); border-radius: 10px; overflow: hidden; background: var(--card) }
  .pages td, .experiences td { display: grid; grid-template-columns: 7rem minmax(0, 1fr); gap: .5rem; padding: .3rem .8rem; border: 0; text-align: left; white-space: normal }
  .pages td::before, .experiences td::before { content: attr(data-label); font-size: .85rem; color: var(--soft) }
  .pages td > *, .experiences td > * { grid-column: 2; justify-self: start }
  .local { position: static }
  .row { grid-template-columns: 1fr; padding: .35rem 0 }
  .row--axis svg { display: none }
  .facts { gap: .5rem 1.4rem }
}
@media (prefers-reduced-motion: no-preference) { .bar nav a, button { transition: background .12s, border-color .12s } }
`
