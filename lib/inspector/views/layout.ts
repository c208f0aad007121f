/** The frame of every view. */
import { html, type Html, type Part } from '../html.ts'
import type { Overrides } from '../overrides.ts'

/** The parts common to all views. */
export interface Frame {
  /** Path of the inspector. */
  base: string
  /** Name of the view in the navigation. */
  view: 'Pages' | 'Client' | 'Activities' | 'Overrides' | undefined
  title: string
  /** The overrides of this browser. */
  overrides: Overrides | undefined
  /** Whether there is a secret, so that a browser can log out. */
  hasSecret: boolean
}

const VIEWS = [['Pages', ''], ['Client', '/client'], ['Activities', '/activities'], ['Overrides', '/overrides']] as const

export function layout ({ base, view, title, overrides, hasSecret }: Frame, main: Part): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · Target inspector</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${base}/style.css">
<script src="${base}/script.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="bar">
  <a class="brand" href="${base}"><span class="mark" aria-hidden="true"></span>Target inspector</a>
  <nav aria-label="Views">${VIEWS.map(([name, path]) => html`<a href="${base}${path}"${name === view && html` aria-current="page"`}>${name}</a>`)}</nav>
  ${hasSecret && html`<form method="post" action="${base}/logout"><button class="plain">Log out</button></form>`}
</header>
${overrides !== undefined && html`<div class="notice" role="note"><p><strong>This browser has overrides:</strong> ${overrides.describe().join('; ')}. Nothing on its pages is counted.</p>
  <form method="post" action="${base}/overrides"><input type="hidden" name="clear" value="all"><button>End overrides</button></form></div>`}
<main id="main" tabindex="-1">
${main}
</main>
</body>
</html>
`.toString()
}

/** The page for browsers that have to log in. */
export function loginPage (base: string, problem: string | undefined): string {
  return html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>Log in · Target inspector</title><link rel="icon" href="data:,"><link rel="stylesheet" href="${base}/style.css"></head>
<body>
<main class="login">
<h1>Target inspector</h1>
${problem !== undefined && html`<p class="problem" role="alert">${problem}</p>`}
<form method="post" action="${base}/login">
  <label for="secret">The inspector's secret</label>
  <input id="secret" name="secret" type="password" autocomplete="current-password" required autofocus>
  <button>Log in</button>
</form>
</main>
</body>
</html>
`.toString()
}

/** A small label; `kind` colours it. */
export const chip = (text: string, kind: 'good' | 'bad' | 'override' | 'plain' = 'plain'): Html => html`<span class="chip chip--${kind}">${text}</span>`

/** A block of code that can be copied. */
export const copyable = (id: string, label: string, code: string): Html => html`<details class="copy">
  <summary>${label}</summary>
  <button type="button" data-copy="${id}">Copy</button>
  <pre id="${id}" tabindex="0">${code}</pre>
</details>`
