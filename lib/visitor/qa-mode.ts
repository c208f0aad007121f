/**
 * Activity QA: Target's QA links, and the cookie that keeps their QA mode for the visit.
 *
 * Names and formats are those of Target's links and of at.js 2, which uses the same cookie, so that a link works whether the
 * server or the browser sees it first. Lists of audience ids are joined by `_` in links ("Activity QA", Adobe Experience
 * League); at.js keeps them as strings, the Delivery API expects integers. All of it comes from a browser: malformed or
 * oversized parts are left out, and nothing throws.
 */
import { decodeCookie, QA_MODE_COOKIE, type TargetCookie } from './cookies.ts'
import type { QAMode, QAModePreviewIndex } from '../schema/index.ts'

/** Lifetime of the cookie, seconds: at.js's 31 minutes, counted from the last page as for Target's session. */
export const QA_MODE_MAX_AGE = 1860

/** QA mode of this visit, from a link or the cookie. */
export interface QaVisit {
  /** QA mode, frozen; undefined if it ended. */
  readonly mode: QAMode | undefined
  /** The cookie to write. */
  readonly cookie: TargetCookie
}

/** The visit after QA mode has ended. */
export const QA_ENDED: QaVisit = { mode: undefined, cookie: { name: QA_MODE_COOKIE, value: '', maxAge: 0 } }

const PREFIX = 'at_preview_'
const TOKEN_PARAMETER = 'at_preview_token'
const TOKEN = /^[!-~]{1,512}$/
const ID = /^\d{1,16}$/
const INDEX = /^\d{1,4}$/
const MAX_LIST = 50
/** Browsers keep cookies of 4096 bytes, attributes and name included. */
const MAX_COOKIE = 3500

/** Whether an address may be a QA link: a cheap check, run for every page. */
export const mayBeQaLink = (url: string): boolean => url.includes(TOKEN_PARAMETER)

/**
 * Reads QA mode from a page's address and cookie; the address wins.
 *
 * @param url of the request, with its query string
 * @param cookie the raw value of `at_qa_mode`
 * @returns undefined if neither has anything usable
 */
export function readQaVisit (url: string, cookie: string | undefined): QaVisit | undefined {
  return (mayBeQaLink(url) ? readLink(url) : undefined) ?? (cookie === undefined ? undefined : readCookie(cookie))
}

function readLink (url: string): QaVisit | undefined {
  const values = new Map<string, string[]>()
  const [address] = url.split('#', 1)
  for (const pair of address!.slice(address!.indexOf('?') + 1).split('&')) {
    if (!pair.startsWith(PREFIX)) continue
    const [name, encoded = ''] = splitOnce(pair)
    const value = decodeCookie(encoded)
    if (value === undefined) continue
    const known = values.get(name)
    if (known === undefined) values.set(name, [value])
    else known.push(value)
  }
  const token = values.get(TOKEN_PARAMETER)?.at(-1)
  if (token === undefined) return undefined
  if (token.trim() === '') return QA_ENDED
  const listOf = (name: string, separator: RegExp) => values.get(PREFIX + name)?.flatMap((value) => value.split(separator, MAX_LIST))
  return visitOf({
    token,
    listedActivitiesOnly: values.get(`${PREFIX}listed_activities_only`)?.at(-1) === 'true',
    evaluateAsTrueAudienceIds: listOf('evaluate_as_true_audience_ids', /[_,]/),
    evaluateAsFalseAudienceIds: listOf('evaluate_as_false_audience_ids', /[_,]/),
    previewIndexes: listOf('index', /,/)?.map((index) => {
      const [activityIndex, experienceIndex] = index.split('_', 2)
      return { activityIndex, experienceIndex }
    })
  })
}

function splitOnce (pair: string): [string, string?] {
  const equals = pair.indexOf('=')
  return equals === -1 ? [pair] : [pair.slice(0, equals), pair.slice(equals + 1)]
}

function readCookie (cookie: string): QaVisit | undefined {
  const text = cookie.length <= 4096 ? decodeCookie(cookie) : undefined
  if (text === undefined || !text.startsWith('{')) return undefined
  try {
    return visitOf(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** The parts of a link or cookie that the Delivery API accepts, frozen since all calls of the page share them. */
function visitOf (given: Record<keyof QAMode, unknown>): QaVisit | undefined {
  const { token, listedActivitiesOnly } = given
  if (typeof token !== 'string' || !TOKEN.test(token)) return undefined
  const mode: QAMode = { token }
  if (listedActivitiesOnly === true) mode.listedActivitiesOnly = true
  for (const name of ['evaluateAsTrueAudienceIds', 'evaluateAsFalseAudienceIds'] as const) {
    const ids = listed(given[name], audienceId)
    if (ids.length > 0) mode[name] = [...new Set(ids)]
  }
  const indexes = listed(given.previewIndexes, previewIndex)
  // The Delivery API refuses an empty list.
  if (indexes.length > 0) mode.previewIndexes = indexes
  const value = encodeURIComponent(JSON.stringify(mode))
  if (value.length > MAX_COOKIE) return undefined
  return { mode: freezeQaMode(mode), cookie: { name: QA_MODE_COOKIE, value, maxAge: QA_MODE_MAX_AGE } }
}

function listed<Entry> (given: unknown, read: (entry: unknown) => Entry | undefined): Entry[] {
  if (!Array.isArray(given)) return []
  return given.slice(0, MAX_LIST).map(read).filter((entry) => entry !== undefined)
}

/** Ids beyond `Number.MAX_SAFE_INTEGER` would arrive at the edge as other ids. */
function audienceId (given: unknown): number | undefined {
  const id = integer(given, ID)
  return id !== undefined && Number.isSafeInteger(id) ? id : undefined
}

function previewIndex (given: unknown): QAModePreviewIndex | undefined {
  if (typeof given !== 'object' || given === null) return undefined
  const { activityIndex, experienceIndex } = given as Record<keyof QAModePreviewIndex, unknown>
  const activity = integer(activityIndex, INDEX)
  if (!activity) return undefined
  const experience = integer(experienceIndex, INDEX)
  // As in at.js, an experience that cannot be read leaves the activity.
  return experience ? { activityIndex: activity, experienceIndex: experience } : { activityIndex: activity }
}

function integer (given: unknown, form: RegExp): number | undefined {
  const text = typeof given === 'number' || typeof given === 'string' ? String(given) : ''
  return form.test(text) ? Number(text) : undefined
}

/** A copy of QA mode that is frozen with its lists. */
export function freezeQaMode (mode: QAMode): QAMode {
  const copy = { ...mode }
  for (const name of ['evaluateAsTrueAudienceIds', 'evaluateAsFalseAudienceIds'] as const) {
    if (copy[name] !== undefined) Object.freeze(copy[name] = [...copy[name]])
  }
  if (copy.previewIndexes !== undefined) Object.freeze(copy.previewIndexes = copy.previewIndexes.map((index) => Object.freeze({ ...index })))
  return Object.freeze(copy)
}
