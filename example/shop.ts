/**
 * `npm start` opens the shop until Ctrl-C. `npm start -- --once` makes fifty visits and prints a report. With `--web-sdk` it is a shop with
 * Adobe's Web SDK, which calls Target through the Edge Network.
 * The address is http://127.0.0.1:3000; `PORT` sets another port. If that is taken, the next free one is used.
 */
import { parseArgs } from 'node:util'
import { reportOnce } from './once.ts'
import { startShop } from './start-shop.ts'
import { webSdkJs } from './web-sdk.ts'

const { once, 'web-sdk': webSdk } = parseArgs({ options: { once: { type: 'boolean', default: false }, 'web-sdk': { type: 'boolean', default: false } } }).values

const options = { logger: { level: 'error' }, webSdk }

if (webSdk && webSdkJs === undefined) {
  console.error('--web-sdk serves Adobe\'s Web SDK from node_modules, and it is not there. It is a development dependency of this repository: run `npm ci`, without --omit=dev, and start again.')
  process.exitCode = 1
} else if (once) {
  const shop = await startShop(0, options)
  try {
    const { report, problems } = await reportOnce(shop.address)
    console.log(report)
    for (const problem of problems) console.error(`Off: ${problem}`)
    if (problems.length > 0) process.exitCode = 1
  } finally {
    await shop.close()
  }
} else {
  const shop = await startShop(Number(process.env.PORT ?? 3000), options)
  console.log(`
  The shop is open at ${shop.address}

  Try   reload                  the same visitor keeps the same hero
        "New visitor"           deletes the cookies: maybe the other hero
        "Gold member"           another banner, because of ?member=gold in the address
        "Count a click"         reports a click on this hero to Target; the hero's own button does too
        a QA link               pins the second hero, until you open ${shop.address}/?at_preview_token=
        ${shop.edge.qaLink(`${shop.address}/`, { activities: [410001], previewIndexes: [{ activityIndex: 1, experienceIndex: 2 }] })}

  The products take 80 ms and Target 60 ms: the end of the page shows how much time Target added.
  "Make Target slow", "Break it", "Drop it": the page stays on time.
  Why this hero? The inspector: ${shop.address}/_target
  ${webSdk ? 'Target is called through the Edge Network.' : `Another hero for this browser alone: ${shop.address}/?target_override=hero:B`}
  Decided on the server, applied by ${webSdk ? 'Web SDK' : 'at.js'}: ${shop.address}/product
  As JSON: ${shop.address}/executeMbox?mbox=hero,banner
  Ctrl-C closes the shop.
`)
  // Ctrl-C may arrive twice: from the terminal, and passed on by npm.
  let closing: Promise<void> | undefined
  const close = () => { closing ??= shop.close() }
  process.on('SIGINT', close).on('SIGTERM', close)
}
