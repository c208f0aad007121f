/**
 * The notifications of one request: completed, and queued once the app's functions have settled and allow it.
 */
import { randomUUID } from 'node:crypto'
import type { TargetClient } from '../client/client.ts'
import { completeNotification, type NotificationForm } from '../offers/notifications.ts'
import type { QAMode } from '../schema/index.ts'
import { senderKey } from '../transport/transport.ts'
import type { Visitor } from '../visitor/visitor.ts'
import type { AppFunctions } from './app-functions.ts'
import type { DeliveryRequests } from './delivery-request.ts'
import type { PageReport } from './page-report.ts'

/** The page that notifications are about. */
export interface NotifyingPage {
  readonly visitor: Visitor
  /** The QA mode in force. */
  readonly qaMode: QAMode | undefined
  /** Whether offers are forced on it, so that nothing of it is counted. */
  readonly overridden: boolean
  readonly report: PageReport | undefined
}

/** The notifications of one request. */
export class PageNotifications {
  readonly #client: TargetClient
  readonly #page: NotifyingPage
  readonly #app: AppFunctions
  readonly #requests: DeliveryRequests
  /** Shared by all displays and clicks of the page. */
  #impressionId: string | undefined

  constructor ({ client }: { client: TargetClient }, page: NotifyingPage, app: AppFunctions, requests: DeliveryRequests) {
    this.#client = client
    this.#page = page
    this.#app = app
    this.#requests = requests
  }

  /** Whether there were any. */
  get any (): boolean {
    return this.#impressionId !== undefined
  }

  /** Queues notifications; missing members are filled in. */
  add (forms: readonly NotificationForm[]): void {
    if (forms.length === 0 || this.#app.enabled === false || this.#page.overridden) return
    this.#impressionId ??= randomUUID()
    const notifications = forms.map((form) => completeNotification(form, this.#impressionId!))
    const { visitor, qaMode, report } = this.#page
    report?.queued(notifications)
    const { sessionId, locationHint } = visitor
    this.#whenReady(() => this.#client.notify({ key: senderKey(sessionId, qaMode), request: this.#requests.base(qaMode), sessionId, locationHint, edgeState: visitor.edgeState }, notifications))
  }

  /** Queues notifications of a visitor known by cookies or to the app; those of unknown visitors are dropped. */
  addIfKnown (forms: readonly NotificationForm[]): void {
    if (this.#app.enabled === false) return
    this.#whenReady(() => { if (this.#page.visitor.isKnown) this.add(forms) })
  }

  /** Runs a function once the app's functions have settled, now if they have; never if Target may not be called. */
  #whenReady (run: () => void): void {
    const { ready } = this.#app
    if (ready === true) run()
    else if (ready !== false) {
      const arrived = this.#client.expectNotifications()
      ready.then((allowed) => {
        if (allowed) run()
        arrived()
      })
    }
  }
}
