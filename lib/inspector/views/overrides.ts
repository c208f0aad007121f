/** The overrides of this browser, and forms to set more. */
import type { Catalog, Experience } from '../catalog.ts'
import { html, type Html } from '../html.ts'
import type { Overrides } from '../overrides.ts'

/** A form for one mbox. `back`: where it leads. */
export function overrideForm (base: string, mbox: string, experiences: Experience[], back: string): Html {
  return html`<form class="override" method="post" action="${base}/overrides">
<input type="hidden" name="mbox" value="${mbox}"><input type="hidden" name="back" value="${back}">
<div class="buttons">
${experiences.map(({ activity, id, name, letter }) => html`<button name="value" value="experience:${activity.id}/${id}">${letter !== '' && `${letter}: `}${name || `experience ${id}`}</button>`)}
<button name="value" value="none">No offer</button>
<button name="value" value="timeout">Timeout</button>
<button name="value" value="status:500">Status 500</button>
<button name="value" value="" class="plain">Let Target decide</button>
</div>
${experiences.length === 0 && html`<p class="hint">No experience of this mbox is known yet: the client has no rule artifact, and the edge has not returned any.</p>`}
<label>Custom content, HTML or JSON, up to 2000 characters<textarea name="content" rows="3" maxlength="2000"></textarea></label>
<button name="value" value="content">Force this content</button>
</form>`
}

export function overridesView (base: string, overrides: Overrides | undefined, catalog: Catalog, problem: string | undefined): Html {
  return html`<h1>Overrides</h1>
${problem !== undefined && html`<p class="problem" role="alert">${problem}</p>`}
<p>What this browser gets instead of Target's offers, for eight hours. Its pages are not cached, and no impression, click or conversion on them is counted.</p>
${overrides === undefined
    ? html`<p class="empty">None: this browser gets what other visitors get.</p>`
    : html`<ul class="plainlist">${[...overrides.values.keys()].map((mbox, index) => html`<li><form class="inline" method="post" action="${base}/overrides"><input type="hidden" name="mbox" value="${mbox}"><input type="hidden" name="value" value=""><span>${overrides.describe()[index]}</span> <button>Remove</button></form></li>`)}</ul>`}
<h2>Everything</h2>
<p>Shows all fallbacks of your pages.</p>
<form method="post" action="${base}/overrides" class="override"><input type="hidden" name="mbox" value="*"><div class="buttons"><button name="value" value="timeout">Target does not respond</button><button name="value" value="status:500">Target returns 500</button><button name="value" value="none">No offer anywhere</button></div></form>
<h2>By mbox</h2>
${catalog.mboxes.length === 0 && html`<p class="empty">No mbox is known yet.</p>`}
${catalog.mboxes.map((mbox) => html`<article class="offer"><h3>${mbox}</h3>${overrideForm(base, mbox, catalog.experiences(mbox), `${base}/overrides`)}</article>`)}
<h2>By address</h2>
<p>On any page: <code>?target_override=hero:B</code>, with an experience's name, id or letter, or <code>hero:none</code>, <code>hero:timeout</code>, <code>hero:status:500</code>; several with commas. <code>?target_override=</code> ends all.</p>`
}
