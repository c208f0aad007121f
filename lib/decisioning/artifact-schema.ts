/**
 * The rule artifact that Target publishes for on-device decisioning, major version 1.
 *
 * Only what decisions depend on is checked; additional members are allowed, since Adobe adds some without a new version. Rules
 * have a separate schema, so that those of a large artifact can be checked in slices.
 */
import { Type, type Static } from '@sinclair/typebox'
import { open } from '../schema/shape.ts'

/** The mbox under which page loads are decided, unless the artifact has another name for it. */
export const DEFAULT_GLOBAL_MBOX = 'target-global-mbox'

const Names = Type.Optional(Type.Array(Type.String()))
/** TypeBox reads a plain string as `.*`, so a name with a line break would go unchecked. */
const AnyName = Type.String({ pattern: '^[\\s\\S]*$' })
const RulesByName = Type.Optional(Type.Record(AnyName, Type.Array(Type.Unknown())))

/** An artifact without its rules. */
export const Artifact = Type.Object({
  version: Type.String({ pattern: '^1(?!\\d)', expected: 'a format version 1.x', description: 'Semantic version; only major version 1 is known.' }),
  globalMbox: Type.Optional(Type.String({ description: 'Name under which the page load is decided; default target-global-mbox.' })),
  geoTargetingEnabled: Type.Optional(Type.Boolean({ description: 'Whether a rule depends on the location of the visitor.' })),
  responseTokens: Names,
  localMboxes: Names,
  localViews: Names,
  remoteMboxes: Names,
  remoteViews: Names,
  meta: Type.Optional(Type.Object({ environment: Type.Optional(Type.String()) }, open)),
  rules: Type.Object({ mboxes: RulesByName, views: RulesByName }, open)
}, { ...open, description: 'A rule artifact.' })
export type Artifact = Static<typeof Artifact>

/** A response token, or a part of one. */
const Token = Type.Optional(Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]))
const EventToken = Type.Optional(Type.String())

const ArtifactOption = Type.Object({
  type: Type.Optional(Type.String({ description: 'html, json, redirect, dynamic or actions.' })),
  content: Type.Optional(Type.Unknown()),
  eventToken: EventToken
}, open)

const ArtifactMetric = Type.Object({
  type: Type.Optional(Type.String({ description: 'click or display.' })),
  eventToken: EventToken
}, open)

/** One experience of an activity at one location. */
export const ArtifactRule = Type.Object({
  ruleKey: Type.Optional(Type.String({ description: 'Activity and location: of the rules with one key the first match counts.' })),
  activityId: Type.Optional(Type.Union([Type.String(), Type.Number()], { description: 'The same as activity.id of meta, which older artifacts lack.' })),
  propertyTokens: Type.Optional(Type.Array(Type.String(), { description: 'Properties it belongs to; none: to all.' })),
  condition: Type.Unknown({ description: 'JSON-Logic.' }),
  meta: Type.Object({
    'activity.id': Token,
    'activity.name': Token,
    'activity.type': Token,
    'experience.id': Token,
    'experience.name': Token,
    'location.id': Token,
    'location.name': Token,
    'location.type': Token,
    'offer.id': Token,
    'offer.name': Token,
    'option.id': Token,
    'option.name': Token,
    'audience.ids': Type.Optional(Type.Array(Type.Union([Type.String(), Type.Number()])))
  }, { ...open, description: 'Names and ids, for response tokens and macros.' }),
  consequence: Type.Object({
    name: Type.Optional(Type.String({ description: 'Name of the location.' })),
    options: Type.Optional(Type.Array(ArtifactOption)),
    metrics: Type.Optional(Type.Array(ArtifactMetric))
  }, { ...open, description: 'What is answered to visitors who meet the condition.' })
}, { ...open, description: 'One experience of an activity at one location.' })
export type ArtifactRule = Static<typeof ArtifactRule>
