/** `--once`: visits the shop as fifty different visitors and reports their variants and the latency. */

const visitors = 50
const atOnce = 5
const mboxes = ['hero', 'banner', 'checkout-flags']

/** The sample activity `banner` distinguishes browsers, and gold members by their address. */
const people = [
  { path: '/', agent: 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0' },
  { path: '/', agent: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36' },
  { path: '/', agent: 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15' },
  { path: '/?member=gold', agent: 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0' },
  { path: '/', agent: 'curl/8.5.0' }
]

interface Visit {
  status: number
  /** The visitor's id in the `mbox` cookie, or in Web SDK's. */
  id: string | undefined
  /** Experience by mbox; absent if the page shows its own default. */
  experiences: Map<string, string>
  /** Milliseconds by name: the `Server-Timing` header. */
  timing: Map<string, number>
}

/** Visits the shop at `address`. `problems` has a sentence for each thing that went wrong. */
export async function reportOnce (address: string): Promise<{ report: string, problems: string[] }> {
  const visits: Visit[] = []
  let next = 0
  const visitInTurn = async () => {
    while (next < visitors) {
      const { path, agent } = people[next++ % people.length]!
      visits.push(await visit(address + path, agent))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, visitInTurn))
  return { report: [shares(visits), times(visits)].join('\n\n'), problems: problemsOf(visits) }
}

async function visit (url: string, agent: string): Promise<Visit> {
  const response = await fetch(url, { headers: { 'user-agent': agent } })
  const page = await response.text()
  const timing = response.headers.get('server-timing') ?? ''
  return {
    status: response.status,
    id: /(?:\|PC#|_identity=)([^#;]+)/.exec(response.headers.getSetCookie().join())?.[1],
    experiences: new Map(pairs(page, /data-mbox="([^"]+)" data-experience="([^"]+)"/g)),
    timing: new Map(pairs(timing, /([\w-]+);dur=([\d.]+)/g).map(([name, milliseconds]) => [name, Number(milliseconds)]))
  }
}

const pairs = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name, value]) => [name!, value!] as const)

function problemsOf (visits: Visit[]): string[] {
  const problems: string[] = []
  const count = (matching: (visit: Visit) => boolean) => visits.filter(matching).length
  const failed = count(({ status }) => status !== 200)
  if (failed > 0) problems.push(`${failed} of ${visitors} pages failed`)
  for (const mbox of mboxes) {
    const missing = count(({ experiences }) => !experiences.has(mbox))
    if (missing > 0) problems.push(`${missing} of ${visitors} visitors got no offer for ${mbox}`)
  }
  const known = new Set(visits.map(({ id }) => id).filter((id) => id !== undefined)).size
  if (known !== visitors) problems.push(`Target saw ${known} visitors instead of ${visitors}`)
  return problems
}

/** How many visitors saw each experience. */
function shares (visits: Visit[]): string {
  const lines = [`${visits.length} visitors, ${atOnce} at a time`, '', row('mbox', 'experience', 'visitors', 'share')]
  for (const mbox of mboxes) {
    const counts = new Map<string, number>()
    for (const { experiences } of visits) {
      const experience = experiences.get(mbox) ?? '(no offer)'
      counts.set(experience, (counts.get(experience) ?? 0) + 1)
    }
    for (const [experience, count] of [...counts].sort(([one], [other]) => one.localeCompare(other))) {
      const share = Math.round(100 * count / visits.length)
      lines.push(row(mbox, experience, String(count), `${share} %`) + '  ' + '█'.repeat(Math.round(share / 4)))
    }
  }
  return lines.join('\n')
}

/** Latency. */
function times (visits: Visit[]): string {
  const spread = (label: string, value: (timing: Map<string, number>) => number | undefined) => {
    const sorted = visits.map(({ timing }) => value(timing)).filter((time) => time !== undefined).sort((one, other) => one - other)
    return timeRow(label, milliseconds(sorted[Math.floor(sorted.length / 2)]), milliseconds(sorted.at(-1)))
  }
  return [
    timeRow('', 'p50', 'max'),
    spread('the page\'s own work (products)', (timing) => timing.get('products')),
    spread('Target\'s call, in parallel', (timing) => timing.get('target')),
    spread('Target delayed it (waited)', (timing) => timing.get('target-wait')),
    spread('effective Target time *', (timing) => {
      const [page, products] = [timing.get('page'), timing.get('products')]
      return page === undefined || products === undefined ? undefined : page - products
    }),
    '',
    '* the whole page minus its own work; includes rendering and the plugin\'s own time'
  ].join('\n')
}

const row = (mbox: string, experience: string, count: string, share: string) =>
  mbox.padEnd(16) + experience.padEnd(16) + count.padStart(8) + share.padStart(8)

const timeRow = (label: string, middle: string, highest: string) => label.padEnd(32) + middle.padStart(10) + highest.padStart(10)

const milliseconds = (value: number | undefined) => value === undefined ? '-' : `${value.toFixed(1)} ms`
