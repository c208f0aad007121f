/** The apps that are compared. Each serves the same page at `/`; all but the first ask Target for the same mbox. */
import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import cookie from '@fastify/cookie'
import { Pool } from 'undici'
import { ASKED, generateArtifact } from './artifact.js'
import { impressionsSettled } from './impressions.js'
import { client, edgeOrganizationId, FALLBACK, mbox, organizationId } from './page.js'
import { createShop } from './shop.js'

/**
 * @typedef {object} Page what a contender's route uses
 * @property {string} host of the edge stand-in
 * @property {() => Promise<void> | undefined} work what the handler does beside Target
 * @property {(reply: object, content: string, waited?: number) => string} send makes the page; `waited`: ms that the handler
 *   waited for Target
 */

/** By name, in the order of the tables. `title` is for people; `add` makes the app's route. */
export const contenders = {
  'no-target': {
    title: 'app without Target',
    add (app, page) {
      app.get('/', async (request, reply) => {
        await page.work()
        return page.send(reply, FALLBACK)
      })
    }
  },

  'hand-written': {
    title: 'hand-written undici pool',
    add (app, page) {
      const pool = new Pool(`http://${page.host}`, { connections: 128 })
      const contentFor = async (request) => {
        const requestId = randomUUID()
        const { body } = await pool.request({
          method: 'POST',
          path: `/rest/v1/delivery?imsOrgId=${encodeURIComponent(organizationId)}&sessionId=${requestId}`,
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({
            requestId,
            context: { channel: 'web', address: { url: `http://${request.headers.host}${request.url}` }, userAgent: request.headers['user-agent'] },
            execute: { mboxes: [{ index: 0, name: mbox }] }
          })
        })
        const { execute } = await body.json()
        return execute.mboxes[0].options[0].content
      }
      app.get('/', async (request, reply) => {
        const content = contentFor(request)
        await page.work()
        const asked = performance.now()
        const shown = await content
        return page.send(reply, shown, performance.now() - asked)
      })
    }
  },

  'bare-undici': {
    title: 'bare undici, the least possible call',
    add (app, page) {
      const pool = new Pool(`http://${page.host}`, { connections: 128 })
      const call = {
        method: 'POST',
        path: `/rest/v1/delivery?imsOrgId=${encodeURIComponent(organizationId)}&sessionId=1`,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ context: { channel: 'web' }, execute: { mboxes: [{ index: 0, name: mbox }] } })
      }
      const contentFor = async () => {
        const { body } = await pool.request(call)
        const { execute } = await body.json()
        return execute.mboxes[0].options[0].content
      }
      app.get('/', async (request, reply) => {
        const content = contentFor()
        await page.work()
        const asked = performance.now()
        const shown = await content
        return page.send(reply, shown, performance.now() - asked)
      })
    }
  },

  plugin: {
    title: 'fastify-adobe-target',
    async add (app, page) {
      await registerPlugin(app, page)
      addPluginRoute(app, page, [mbox], mbox)
    }
  },

  'sdk-early': {
    title: 'Adobe Node SDK, started early',
    async add (app, page) {
      const ask = await nodeSdk(app, page, HERO)
      app.get('/', async (request, reply) => {
        const offers = ask(request)
        await page.work()
        const asked = performance.now()
        const result = await offers
        return page.send(reply, useResult(reply, result), performance.now() - asked)
      })
    }
  },

  'sdk-awaited': {
    title: 'Adobe Node SDK, awaited first',
    async add (app, page) {
      addAwaitedRoute(app, page, await nodeSdk(app, page, HERO))
    }
  },

  'edge-network-prefetch': {
    title: 'fastify-adobe-target, Edge Network, prefetch',
    async add (app, page) {
      await registerEdgeNetwork(app, page)
      addPluginRoute(app, page, { prefetch: { mboxes: [mbox] } }, mbox)
    }
  },

  'edge-network-execute': {
    title: 'fastify-adobe-target, Edge Network, execute (impressions are sent, one call per tick for the one visitor)',
    async add (app, page) {
      await registerEdgeNetwork(app, page)
      addPluginRoute(app, page, [mbox], mbox)
      return () => impressionsSettled(app.target)
    }
  },

  'on-device-prefetch': {
    title: 'fastify-adobe-target, on-device, prefetch',
    async add (app, page) {
      await registerOnDevice(app, page)
      addPluginRoute(app, page, { prefetch: { mboxes: [ASKED] } }, ASKED)
    }
  },

  'on-device-execute': {
    title: 'fastify-adobe-target, on-device, execute (impressions are sent, one call per tick for the one visitor)',
    async add (app, page) {
      await registerOnDevice(app, page)
      addPluginRoute(app, page, [ASKED], ASKED)
      return () => impressionsSettled(app.target)
    }
  },

  'sdk-on-device-prefetch': {
    title: 'Adobe Node SDK, prefetch',
    add: (app, page) => addSdkOnDevice(app, page, 'prefetch')
  },

  'variants-rendered': {
    title: 'rendered for each visitor',
    add: (app, page) => addVariants(app, page, undefined)
  },

  'variants-cached': {
    title: 'cached by variantKey()',
    add: (app, page) => addVariants(app, page, new Map())
  },

  'sdk-on-device-execute': {
    title: 'Adobe Node SDK, execute (impressions are sent, one call per page)',
    add: (app, page) => addSdkOnDevice(app, page, 'execute')
  }
}

/** Contenders that ask the edge, and the app without Target. */
export const edgeContenders = ['no-target', 'bare-undici', 'hand-written', 'plugin', 'sdk-early', 'sdk-awaited']

function addPluginRoute (app, page, target, name) {
  app.get('/', { config: { target } }, async (request, reply) => {
    await page.work()
    const content = await request.target.content(name, FALLBACK)
    return page.send(reply, content, request.target.timing.waited)
  })
}

/** Loaded here, so that others run without it, and that the tables of a report are printed without a build. */
async function registerPlugin (app, page, options) {
  const { default: fastifyAdobeTarget } = await import('fastify-adobe-target')
  await app.register(fastifyAdobeTarget, { client, organizationId, serverDomain: page.host, secure: false, ...options })
}

const registerEdgeNetwork = (app, page) => registerPlugin(app, page, { serverDomain: undefined, organizationId: edgeOrganizationId, edgeNetwork: { datastreamId: 'bench', edgeDomain: page.host } })

async function registerOnDevice (app, page) {
  await registerPlugin(app, page, { decisioningMethod: 'on-device', artifactPayload: onDeviceArtifact(), pollingInterval: 0 })
  await app.target.ready({ timeout: 5000 })
}

/** A page that takes 20 ms of CPU to render, for visitors of two experiences, each of whom counts. */
async function addVariants (app, page, cache) {
  await registerOnDevice(app, page)
  const shop = createShop(20)
  app.get('/', { config: { target: { prefetch: { mboxes: [ASKED] } } } }, async ({ target }, reply) => {
    const key = cache && await target.variantKey(ASKED)
    let body = cache?.get(key)
    if (body === undefined) {
      body = shop.render(await target.content(ASKED, FALLBACK))
      cache?.set(key, body)
    }
    target.displayed(ASKED)
    return page.send(reply, body)
  })
  return () => impressionsSettled(app.target)
}

const onDeviceArtifact = () => generateArtifact({ mboxes: 5, rulesEach: 2 })

const HERO = { execute: { mboxes: [{ index: 0, name: mbox }] } }

async function addSdkOnDevice (app, page, mode) {
  addAwaitedRoute(app, page, await nodeSdk(app, page, { [mode]: { mboxes: [{ index: 0, name: ASKED }] } }, {
    decisioningMethod: 'on-device', artifactPayload: onDeviceArtifact(), pollingInterval: 300_000, telemetryEnabled: false
  }))
}

function addAwaitedRoute (app, page, ask) {
  app.get('/', async (request, reply) => {
    const asked = performance.now()
    const result = await ask(request)
    const waited = performance.now() - asked
    await page.work()
    return page.send(reply, useResult(reply, result), waited)
  })
}

/** As Adobe's samples use it: cookies in and out, the page's address and user agent. What no option says is left as it is. */
async function nodeSdk (app, page, asked, options) {
  const TargetClient = createRequire(import.meta.url)('@adobe/target-nodejs-sdk')
  await app.register(cookie)
  let target
  await new Promise((resolve) => {
    target = TargetClient.create({ client, organizationId, serverDomain: page.host, secure: false, ...options, events: { clientReady: resolve } })
  })
  return (request) => target.getOffers({
    request: {
      context: { channel: 'web', address: { url: `http://${request.headers.host}${request.url}` }, userAgent: request.headers['user-agent'] },
      ...asked
    },
    targetCookie: request.cookies.mbox
  })
}

function useResult (reply, { response, targetCookie: { name, value, maxAge } }) {
  reply.setCookie(name, value, { maxAge, path: '/', encode: String })
  return (response.execute ?? response.prefetch).mboxes[0].options[0].content
}
