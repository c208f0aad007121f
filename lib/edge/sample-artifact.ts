/**
 * The edge's default rule artifact: five activities of an outdoor shop.
 *
 * | activity | location | who sees what |
 * |---|---|---|
 * | 410001 A/B | mbox `hero` | html, one half each |
 * | 410002 targeted | mbox `banner` | html: gold members (mbox parameter or URL query `member=gold`), else by browser, else all |
 * | 410003 A/B | mbox `checkout-flags` | json, one half each |
 * | 410004 targeted | the page load (`target-global-mbox`) | actions, all |
 * | 410005 targeted | view `product` | actions, all |
 *
 * The format is that of Target's on-device artifacts, version 1.0.0. Event tokens are added when the edge starts.
 */

interface Rule {
  /** Activity id. */
  activity: number
  activityName: string
  type: 'ab' | 'landing'
  /** Position of the experience in the activity, from 0. */
  experience: number
  experienceName: string
  location: string
  kind?: 'mbox' | 'view'
  offerName: string
  /** JSON-Logic. */
  condition: unknown
  option: { type: 'html' | 'json' | 'actions', content: unknown }
  /** Selector whose clicks are counted. */
  clicks?: string
}

const rule = (it: Rule) => ({
  ruleKey: it.kind === 'view' ? `${it.activity}-0` : `${it.activity}`,
  activityId: it.activity,
  meta: {
    'activity.id': it.activity,
    'activity.name': it.activityName,
    'activity.type': it.type,
    'experience.id': it.experience,
    'experience.name': it.experienceName,
    'location.id': 0,
    'location.name': it.location,
    'location.type': it.kind ?? 'mbox',
    'audience.ids': [],
    'offer.id': it.activity * 10 + it.experience,
    'offer.name': it.offerName,
    'option.id': it.experience + 2,
    'option.name': `Offer${it.experience + 2}`
  },
  condition: it.condition,
  consequence: {
    name: it.location,
    options: [it.option],
    metrics: it.clicks === undefined ? [] : [{ type: 'click', selector: it.clicks }]
  }
})

/** The two halves of an A/B split, in Target's form: 50.00 still belongs to the first. */
const firstHalf = { and: [{ '<=': [0, { var: 'allocation' }] }, { '>=': [50, { var: 'allocation' }] }] }
const secondHalf = { and: [{ '<': [50, { var: 'allocation' }] }, { '>=': [100, { var: 'allocation' }] }] }

const html = (content: string) => ({ type: 'html' as const, content })
const json = (content: object) => ({ type: 'json' as const, content })
const actions = (...content: object[]) => ({ type: 'actions' as const, content })

const hero = { activity: 410001, activityName: 'Winter hero', type: 'ab', location: 'hero', clicks: '.hero__action' } as const
const banner = { activity: 410002, activityName: 'Banner', type: 'landing', location: 'banner' } as const
const flags = { activity: 410003, activityName: 'Checkout flags', type: 'ab', location: 'checkout-flags' } as const
const pageLoad = { activity: 410004, activityName: 'Delivery promise', type: 'landing', location: 'target-global-mbox', kind: 'view' } as const
const product = { activity: 410005, activityName: 'Product page', type: 'landing', location: 'product', kind: 'view' } as const

const bannerFor = (kind: string, text: string) => html(`<p class="banner banner--${kind}">${text}</p>`)
const browserIs = (name: string) => ({ '==': [name, { var: 'user.browserType' }] })

export const sampleArtifact = {
  version: '1.0.0',
  meta: { clientCode: 'acmeclient', environment: 'production', generatedAt: '2026-11-01T08:00:00.000Z' },
  globalMbox: 'target-global-mbox',
  geoTargetingEnabled: false,
  responseTokens: ['activity.id', 'activity.name', 'activity.type', 'experience.id', 'experience.name', 'offer.id', 'offer.name', 'option.id', 'option.name'],
  remoteMboxes: [],
  remoteViews: [],
  localMboxes: ['hero', 'banner', 'checkout-flags', 'target-global-mbox'],
  localViews: ['product'],
  rules: {
    mboxes: {
      hero: [
        rule({
          ...hero,
          experience: 0,
          experienceName: 'Layers',
          offerName: 'Hero: layers',
          condition: firstHalf,
          option: html(`<section class="hero hero--a">
  <p class="hero__eyebrow">Wool, down, shell</p>
  <h1 class="hero__title">Warm is a matter of layers</h1>
  <p class="hero__text">Three pieces that work alone and better together, from the first frost to the last ridge.</p>
  <button class="hero__action" type="button" data-click="hero">Build your layers</button>
</section>`)
        }),
        rule({
          ...hero,
          experience: 1,
          experienceName: 'Night',
          offerName: 'Hero: night',
          condition: secondHalf,
          option: html(`<section class="hero hero--b">
  <p class="hero__eyebrow">Tents and lamps for short days</p>
  <h1 class="hero__title">Stay out after dark</h1>
  <p class="hero__text">The sky is at its best when everyone else has gone home. We packed a list for one clear night.</p>
  <button class="hero__action" type="button" data-click="hero">See the list</button>
</section>`)
        })
      ],
      banner: [
        rule({
          ...banner,
          experience: 0,
          experienceName: 'Gold members',
          offerName: 'Banner: gold',
          condition: { or: [{ '==': ['gold', { var: 'mbox.member' }] }, { in: ['member=gold', { var: 'page.query' }] }] },
          option: bannerFor('gold', '<strong>Gold member?</strong> Repairs are free this winter, and so is the tea.')
        }),
        rule({
          ...banner,
          experience: 1,
          experienceName: 'Firefox',
          offerName: 'Banner: Firefox',
          condition: browserIs('firefox'),
          option: bannerFor('firefox', 'Hello, Firefox. Our foxes wear merino too.')
        }),
        rule({
          ...banner,
          experience: 2,
          experienceName: 'Chrome',
          offerName: 'Banner: Chrome',
          condition: browserIs('chrome'),
          option: bannerFor('chrome', 'Hello, Chrome. Polished steel bottles are back.')
        }),
        rule({
          ...banner,
          experience: 3,
          experienceName: 'Safari',
          offerName: 'Banner: Safari',
          condition: browserIs('safari'),
          option: bannerFor('safari', 'Hello, Safari. Light tents for far places.')
        }),
        rule({
          ...banner,
          experience: 4,
          experienceName: 'Everyone',
          offerName: 'Banner: everyone',
          condition: true,
          option: bannerFor('default', 'Try it outdoors for 60 days. Not happy? Send it back.')
        })
      ],
      'checkout-flags': [
        rule({
          ...flags,
          experience: 0,
          experienceName: 'As before',
          offerName: 'Flags: as before',
          condition: firstHalf,
          option: json({ express: false, freeShippingFrom: 100, showSavings: false })
        }),
        rule({
          ...flags,
          experience: 1,
          experienceName: 'Express',
          offerName: 'Flags: express',
          condition: secondHalf,
          option: json({ express: true, freeShippingFrom: 60, showSavings: true })
        })
      ],
      'target-global-mbox': [
        rule({
          ...pageLoad,
          experience: 0,
          experienceName: 'Promise',
          offerName: 'Delivery promise',
          condition: true,
          option: actions({
            type: 'setHtml',
            selector: '#promise',
            cssSelector: '#promise',
            content: 'Ordered by noon, sent today'
          }),
          clicks: '#promise'
        })
      ]
    },
    views: {
      product: [
        rule({
          ...product,
          experience: 0,
          experienceName: 'Size advice',
          offerName: 'Size advice',
          condition: true,
          option: actions({
            type: 'insertAfter',
            selector: '#sizes',
            cssSelector: '#sizes',
            content: '<p class="advice">Between two sizes? Take the larger one for layers.</p>'
          }),
          clicks: '.advice'
        })
      ]
    }
  }
}
