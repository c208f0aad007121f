/** The ECID on every kind of site: VisitorAPI.js, Web SDK, Adobe's CNAME, first-party ids; client hints; two accounts. */
import { createHash } from 'node:crypto'
import Fastify from 'fastify'
import t from 'tap'
import { channels, type PageMessage } from '../../lib/diagnostics.ts'
import fastifyAdobeTarget from '../../lib/index.ts'
import { ecidOfCname, ecidOfFirstPartyId, ecidOfWebSdk, isFirstPartyId } from '../../lib/visitor/ecid.ts'
import { client, cookiesOf, json, organizationId, startApp, startEdge } from '../support/helper.ts'

const ecid = '09999202774160241814180461222112345678'
const other = '12345678901234567890123456789012345678'

/** A varint of protobuf. */
const varint = (value: number): number[] => value < 128 ? [value] : [value % 128 + 128, ...varint(Math.floor(value / 128))]
const textField = (field: number, value: string) => [...varint(field * 8 + 2), ...varint(value.length), ...Buffer.from(value)]
/** Web SDK's identity message: ecid 1, metadata 10, last_sync 20, write_time 30. */
const identity = (...fields: number[][]) => Buffer.from(fields.flat()).toString('base64url')
const metadata = textField(10, 'metadata')
const writeTime = [...varint(30 * 8), ...varint(1_700_000_000_000)]
const webSdk = identity(textField(1, ecid), metadata, writeTime)
const webSdkName = 'kndctr_1234567890_AdobeOrg_identity'

t.test('the ECID in Web SDK\'s identity cookie', async (t) => {
  t.equal(ecidOfWebSdk(webSdk), ecid)
  t.equal(ecidOfWebSdk(Buffer.from(webSdk, 'base64url').toString('base64')), ecid, 'base64 with padding')
  t.equal(ecidOfWebSdk(encodeURIComponent(`${webSdk}==`)), ecid, 'percent-encoded')
  t.equal(ecidOfWebSdk(identity(writeTime, metadata, textField(1, ecid))), ecid, 'fields in any order')
  t.equal(ecidOfWebSdk(identity([...varint(2 * 8 + 1), ...Array(8).fill(1)], [...varint(3 * 8 + 5), ...Array(4).fill(1)], textField(1, ecid))), ecid, 'fixed-width fields are skipped')
  for (const bad of [
    undefined, '', 'x', '%', '%E0%A4%A', webSdk.slice(0, 10), identity(textField(1, 'not digits')), identity(metadata), identity([15]),
    identity([10, 255, 255, 255, 255, 15]), identity(Array(20).fill(255)), identity([12, 1]), 'A'.repeat(100_000)
  ]) t.equal(ecidOfWebSdk(bad), undefined, String(bad).slice(0, 20))
})

t.test('the ECID in s_ecid', async (t) => {
  t.equal(ecidOfCname(`MCMID|${ecid}`), ecid)
  t.equal(ecidOfCname(`MCMID%7C${ecid}`), ecid)
  for (const bad of [undefined, '', ecid, 'MCMID|', 'MCMID|x', `MCAID|${ecid}`, '%E0%A4%A']) t.equal(ecidOfCname(bad), undefined, String(bad))
})

t.test('the ECID of a first-party id is the one of Adobe\'s SDK', async (t) => {
  const firstPartyId = '63a3e3a5-7b2b-4d0f-9d0a-0123456789ab'
  // Adobe's way: four signed 32-bit parts, two signed 64-bit halves, the sign bit masked away.
  const hash = createHash('md5').update(`${organizationId}:${firstPartyId}`).digest()
  const half = (at: number) => ((BigInt(hash.readInt32BE(at)) << 32n | BigInt(hash.readUInt32BE(at + 4))) & 9223372036854775807n).toString().padStart(19, '0')
  t.equal(ecidOfFirstPartyId(organizationId, firstPartyId), half(0) + half(8))
  for (let number = 0; number < 500; number++) t.match(ecidOfFirstPartyId(organizationId, String(number)), /^\d{38}$/)
  t.equal(ecidOfFirstPartyId('1@AdobeOrg', 'a'), ecidOfFirstPartyId('1@AdobeOrg', 'a'))
  t.not(ecidOfFirstPartyId('1@AdobeOrg', 'a'), ecidOfFirstPartyId('2@AdobeOrg', 'a'))
  t.ok(isFirstPartyId(firstPartyId) && isFirstPartyId(firstPartyId.toUpperCase()))
  for (const bad of [undefined, '', 'x', firstPartyId.replace('-4d0f', '-1d0f'), `${firstPartyId}0`, firstPartyId.replace('-9d0a', '-cd0a')]) t.notOk(isFirstPartyId(bad), String(bad))
})

t.test('a page sends the ECID of its cookies, VisitorAPI.js\'s first', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, {}, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero'))
  })
  const sent = async (cookie: string) => {
    await fetch(url, { headers: { cookie } })
    return edge.requests.at(-1)!.body.id
  }
  t.same(await sent(`${webSdkName}=${webSdk}`), { marketingCloudVisitorId: ecid }, 'no second visitor on a site with Web SDK')
  t.same(await sent(`a=b; s_ecid=MCMID%7C${ecid}`), { marketingCloudVisitorId: ecid })
  const visitor = `AMCV_${encodeURIComponent(organizationId)}=MCMID%7C${other}`
  t.same(await sent(`s_ecid=MCMID%7C${ecid}; ${webSdkName}=${webSdk}; ${visitor}`), { marketingCloudVisitorId: other })
  t.same(await sent(`s_ecid=MCMID%7C${other}; ${webSdkName}=${webSdk}`), { marketingCloudVisitorId: ecid })
  t.same(await sent(`s_ecid=MCMID%7C${ecid}; ${webSdkName}=garbage; ${visitor.replace(other, 'NONE')}`), { marketingCloudVisitorId: ecid })
  t.match(await sent('kndctr_OTHER_AdobeOrg_identity=' + webSdk), { tntId: /./ }, 'of another organization')
})

t.test('firstPartyId: the ECID is there from the first page on', async (t) => {
  const edge = await startEdge(t)
  const page = (options: object) => startApp(t, edge.host, options, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero'))
  })
  const { url } = await page({ firstPartyId: true })
  const first = await fetch(url)
  const [cookie] = first.headers.getSetCookie().filter((line) => line.startsWith('FPID='))
  t.match(cookie, /^FPID=[0-9a-f-]{36}; Max-Age=34128000; Path=\/; SameSite=Lax$/)
  const value = cookie!.slice(5, 41)
  t.ok(isFirstPartyId(value))
  t.same(edge.requests.at(-1)!.body.id, { marketingCloudVisitorId: ecidOfFirstPartyId(organizationId, value) })
  const second = await fetch(url, { headers: { cookie: cookiesOf(first) } })
  t.match(edge.requests.at(-1)!.body.id, { marketingCloudVisitorId: ecidOfFirstPartyId(organizationId, value) })
  t.equal(cookiesOf(second), '', 'it has the cookies')
  const later = await fetch(url, { headers: { cookie: cookiesOf(first).replace(/mbox=[^;]*/, '') } })
  t.match(cookiesOf(later), `FPID=${value}`, 'the cookie is renewed with the others')
  t.equal(await later.text(), await second.text())
  await fetch(url, { headers: { cookie: `FPID=${value}; ${webSdkName}=${webSdk}` } })
  t.equal(edge.requests.at(-1)!.body.id.marketingCloudVisitorId, ecid, 'an ECID that was made already wins')
  const forged = await fetch(url, { headers: { cookie: 'FPID=x' } })
  t.notMatch(cookiesOf(forged), /FPID=x/)

  const named = await page({ firstPartyId: 'my_fpid' })
  t.match(cookiesOf(await fetch(named.url)), /my_fpid=[0-9a-f-]{36}/)
  const odd = await page({ firstPartyId: 'a.b*+^|' })
  await fetch(odd.url, { headers: { cookie: `a.b=1;x=a.b*+^|=no;a.b*+^|="${value}"` } })
  t.match(edge.requests.at(-1)!.body.id, { marketingCloudVisitorId: ecidOfFirstPartyId(organizationId, value) }, 'a name of characters that a pattern would read')
  t.notMatch(cookiesOf(await fetch((await page({})).url)), /FPID/)
  t.notMatch(cookiesOf(await fetch((await page({ firstPartyId: true, enabled: () => false })).url)), /FPID/, 'none without consent')
  for (const bad of [1, 'a b', '']) await t.rejects(page({ firstPartyId: bad }), { code: 'FST_TARGET_INVALID_OPTIONS', message: /`firstPartyId` must be true, false or a cookie name/ })
})

t.test('clientHints: Accept-CH requests the hints that device audiences need', async (t) => {
  const edge = await startEdge(t)
  const page = async (options: object, given?: string) => {
    const { url } = await startApp(t, edge.host, options, (app) => {
      app.get('/', { config: { target: ['hero'] } }, async ({ target }, reply) => {
        if (given !== undefined) reply.header('accept-ch', given)
        return await target.content('hero')
      })
    })
    return (await fetch(url)).headers.get('accept-ch')
  }
  const all = 'Sec-CH-UA-Model, Sec-CH-UA-Platform-Version, Sec-CH-UA-Full-Version-List, Sec-CH-UA-Arch, Sec-CH-UA-Bitness'
  t.equal(await page({ clientHints: true }), all)
  t.equal(await page({ clientHints: true }, 'DPR, sec-ch-ua-model'), `DPR, sec-ch-ua-model, ${all.slice('Sec-CH-UA-Model, '.length)}`)
  t.equal(await page({}), null)
  t.equal(await page({ clientHints: true, enabled: () => false }), null)
})

t.test('two client codes in one app keep two visitors', async (t) => {
  const [one, two] = [await startEdge(t), await startEdge(t, { client: 'otherclient' })]
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(async (scope) => {
    await scope.register(fastifyAdobeTarget, { client, organizationId, serverDomain: one.host, secure: false })
    scope.get('/one', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero'))
  })
  await app.register(async (scope) => {
    await scope.register(fastifyAdobeTarget, { client: 'otherclient', organizationId, serverDomain: two.host, secure: false, decorator: 'blog' })
    scope.get('/two', { config: { blog: ['hero'] } }, async (request) => await (request as any).blog.content('hero'))
  })
  await app.register(async (scope) => {
    await scope.register(fastifyAdobeTarget, { client, organizationId, serverDomain: one.host, secure: false, decorator: 'again' })
    scope.get('/again', { config: { again: ['hero'] } }, async (request) => await (request as any).again.content('hero'))
  })
  const written: string[][] = []
  const look = (message: unknown) => { written.push((message as PageMessage).cookies.slice().sort()) }
  channels.page.subscribe(look)
  t.teardown(() => channels.page.unsubscribe(look))
  const jar = new Map<string, string>()
  const visit = async (url: string, edge: typeof one) => {
    const { cookies } = await app.inject({ url, headers: { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') } })
    for (const { name, value } of cookies) jar.set(name, value)
    return edge.requests.at(-1)!.body.id.tntId.split('.')[0]
  }
  const ids = [await visit('/one', one), await visit('/two', two)]
  t.not(ids[0], ids[1])
  t.same([await visit('/one', one), await visit('/two', two), await visit('/again', one)], [...ids, ids[0]])
  t.same([...jar.keys()].sort(), ['mbox', 'mboxEdgeCluster', 'mboxEdgeCluster_otherclient', 'mbox_otherclient'])
  t.same(written.slice(0, 2), [['mbox', 'mboxEdgeCluster'], ['mboxEdgeCluster_otherclient', 'mbox_otherclient']], 'the page channel names them')
})

t.test('an organization id without its domain gets it', async (t) => {
  const edge = await startEdge(t)
  const { url } = await startApp(t, edge.host, { organizationId: '1234567890' }, (app) => {
    app.get('/', { config: { target: ['hero'] } }, async ({ target }) => ({ content: await target.content('hero'), state: target.visitorState() }))
  })
  const { state } = await json(await fetch(url, { headers: { cookie: `${webSdkName}=${webSdk}` } }))
  t.equal(edge.requests.at(-1)!.query.imsOrgId, organizationId)
  t.equal(edge.requests.at(-1)!.body.id.marketingCloudVisitorId, ecid)
  t.same(Object.keys(state), [organizationId])
})

t.test('ids given as numbers are text on every path', async (t) => {
  const edge = await startEdge(t)
  for (const customerIds of [{ crm: 7, db: { id: 8, authState: 1 } }, [{ id: 7, integrationCode: 'crm', authenticatedState: 'unknown' }, { id: 8, integrationCode: 'db', authenticatedState: 'authenticated' }]] as any[]) {
    const { url, app } = await startApp(t, edge.host, { visitor: () => ({ thirdPartyId: 0, marketingCloudVisitorId: 42, customerIds }) }, (app) => {
      app.get('/', { config: { target: ['hero'] } }, async ({ target }) => await target.content('hero'))
      app.get('/clicked', async ({ target }) => { target.notify({ type: 'click', mbox: { name: 'hero' }, tokens: [] }); return '' })
    })
    await fetch(url)
    const expected = {
      thirdPartyId: '0',
      marketingCloudVisitorId: '42',
      customerIds: [{ id: '7', integrationCode: 'crm', authenticatedState: 'unknown' }, { id: '8', integrationCode: 'db', authenticatedState: 'authenticated' }]
    }
    t.same(edge.requests.at(-1)!.body.id, expected)
    await app.target.getOffers({ customerIds, request: { id: { thirdPartyId: 0, marketingCloudVisitorId: 42 } as never, execute: { mboxes: [{ name: 'hero', index: 0 }] } } })
    t.same(edge.requests.at(-1)!.body.id, expected)
    edge.reset()
    await fetch(`${url}/clicked`)
    await edge.until(() => edge.notifications.length === 1)
    t.same(edge.requests.at(-1)!.body.id, expected)
  }
})
