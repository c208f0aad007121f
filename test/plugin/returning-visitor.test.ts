import t from 'tap'
import { cookiesOf, startApp, startEdge } from '../support/helper.ts'

t.test('a visitor who returns with the cookies of the first page gets the same offer', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, (request) => request.target.content('hero', 'fallback'))
  })
  const first = await fetch(url)
  const second = await fetch(url, { headers: { cookie: cookiesOf(first) } })
  t.equal(await second.text(), await first.text())
})
