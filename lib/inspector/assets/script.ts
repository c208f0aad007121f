/** The only script: live updates, and copying. Everything else works without it. */
export const script = `'use strict'
const live = document.querySelector('[data-live]')
if (live) {
  const state = live.querySelector('[data-live-state]')
  const pause = live.querySelector('[data-pause]')
  let paused = false
  const source = new EventSource(live.dataset.live)
  const say = (text) => { if (state.textContent !== text) state.textContent = text }
  source.onopen = () => { say('Live'); pause.hidden = false }
  source.onerror = () => say('Not connected, trying again')
  pause.onclick = () => {
    paused = !paused
    pause.textContent = paused ? 'Go on' : 'Pause'
    pause.setAttribute('aria-pressed', String(paused))
    say(paused ? 'Paused' : 'Live')
  }
  // What the server sends is HTML that it has made and escaped itself.
  source.addEventListener('pages', ({ data }) => {
    if (paused) return
    const list = document.getElementById('pages')
    list.insertAdjacentHTML('afterbegin', JSON.parse(data))
    while (list.rows.length > Number(list.dataset.most)) list.lastElementChild.remove()
    document.querySelector('.empty').hidden = true
  })
  source.addEventListener('client', ({ data }) => {
    const client = document.getElementById('client')
    if (paused || client.contains(document.activeElement)) return
    client.innerHTML = JSON.parse(data)
  })
}
document.addEventListener('click', async ({ target }) => {
  const button = target.closest('[data-copy]')
  if (!button) return
  const code = document.getElementById(button.dataset.copy)
  try {
    await navigator.clipboard.writeText(code.textContent)
    button.textContent = 'Copied'
  } catch {
    getSelection().selectAllChildren(code)
    button.textContent = 'Selected: copy it with the keyboard'
  }
  setTimeout(() => { button.textContent = 'Copy' }, 2000)
})
`
