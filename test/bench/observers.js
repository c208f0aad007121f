/**
 * What subscribers cost, in CPU of the app's process per page: `npm run build && node test/bench/observers.js`.
 *
 * One app, whose subscribers are switched in turn after a fixed number of pages, so that whatever else the machine does hits
 * all alike. Pages come by `inject()`: a load generator would compete with the app. The edge stand-in is a process of its own.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import Fastify from 'fastify'
import fastifyAdobeTarget from 'fastify-adobe-target'
import { TargetInstrumentation } from 'fastify-adobe-target/otel'
import { targetMetrics } from 'fastify-adobe-target/prometheus'
import * as promClient from 'prom-client'
import { client, mbox, organizationId, render, visitorHeaders } from './page.js'
import { Processes } from './processes.js'
import { table } from './report.js'
import { percentile } from './statistics.js'

const ROUNDS = 30
const PAGES = 500
const AT_A_TIME = 20

const processes = new Processes()
const edge = await processes.start('edge.js')
const app = Fastify()
await app.register(fastifyAdobeTarget, { client, organizationId, serverDomain: edge.hello.host, secure: false })
app.get('/', { config: { target: [mbox] } }, async (request, reply) => {
  reply.type('text/html')
  return render(await request.target.content(mbox, ''))
})

const tracerProvider = new NodeTracerProvider({
  spanProcessors: [new BatchSpanProcessor({ export (_spans, done) { done({ code: 0 }) }, async shutdown () {} })]
})
tracerProvider.register()
const otel = new TargetInstrumentation({ enabled: false, tracerProvider })
const listener = () => {}

/** Each begins to subscribe and returns what ends it. */
const observers = {
  none: () => () => {},
  'an empty one of `fastify-adobe-target:page`' () {
    subscribe('fastify-adobe-target:page', listener)
    return () => unsubscribe('fastify-adobe-target:page', listener)
  },
  '`fastify-adobe-target/prometheus`' () {
    const metrics = targetMetrics(app.target, { client: promClient, registry: new promClient.Registry() })
    return () => metrics.close()
  },
  '`fastify-adobe-target/otel`, every call sampled' () {
    otel.enable()
    return () => otel.disable()
  }
}

async function slice (name) {
  const end = observers[name]()
  const before = process.cpuUsage()
  let left = PAGES
  await Promise.all(Array.from({ length: AT_A_TIME }, async () => {
    while (left-- > 0) await app.inject({ url: '/', headers: visitorHeaders() })
  }))
  const { user, system } = process.cpuUsage(before)
  end()
  return (user + system) / PAGES
}

const names = Object.keys(observers)
const slices = Object.fromEntries(names.map((name) => [name, []]))
for (let warmUp = 0; warmUp < 4; warmUp++) for (const name of names) await slice(name)
for (let round = 0; round < ROUNDS; round++) {
  for (const name of round % 2 === 0 ? names : names.toReversed()) slices[name].push(await slice(name))
}
// What else the machine does only adds, so the quicker slices tell more than the slower ones.
const quick = (name) => percentile(slices[name].toSorted((a, b) => a - b), 25)
console.log(table(names, {
  subscribers: (name) => name,
  'CPU µs a page': (name) => quick(name).toFixed(0),
  least: (name) => Math.min(...slices[name]).toFixed(0),
  more: (name) => name === 'none' ? '' : (quick(name) - quick('none')).toFixed(0)
}))
await app.close()
await edge.stop()
