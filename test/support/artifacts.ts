/** On-device artifacts of a few rules. */

type Body = Record<string, unknown>

/** A rule, as far as a test cares. */
export interface RuleParts { activity: number, experience?: number, condition?: unknown, option?: Body, options?: Body[], metrics?: Body[], propertyTokens?: string[], key?: string }

const ruleOf = (location: string, { activity, experience = 0, condition = true, option = { type: 'html', content: `${activity}` }, options = [option], metrics = [], propertyTokens, key = String(activity) }: RuleParts) => ({
  ruleKey: key,
  activityId: activity,
  meta: { 'activity.id': activity, 'experience.id': experience, 'offer.name': 'An offer', 'location.name': location },
  condition,
  consequence: { name: location, options, metrics },
  ...(propertyTokens && { propertyTokens })
})

/** An artifact with rules, by mbox name. */
export const artifactWith = (mboxes: Record<string, RuleParts[]>, more: Body = {}) => ({
  version: '1.0.0',
  meta: { clientCode: 'testclient', environment: 'production' },
  globalMbox: 'target-global-mbox',
  geoTargetingEnabled: false,
  responseTokens: [],
  remoteMboxes: [],
  remoteViews: [],
  localMboxes: Object.keys(mboxes),
  localViews: [],
  rules: {
    mboxes: Object.fromEntries(Object.entries(mboxes).map(([location, rules]) => [location, rules.map((parts) => ruleOf(location, parts))])),
    views: {}
  },
  ...more
})

/** An artifact that gives everybody the same options, by mbox name, each with a click metric. */
export const artifactOffering = (offers: Record<string, { type: string, content: unknown, eventToken?: string }[]>) =>
  artifactWith(Object.fromEntries(Object.entries(offers).map(([name, options], index) => [name, [{ activity: index, options, metrics: [{ type: 'click', selector: 'a' }] }]])))
