/** How much of everything a run measures, by mode. */

export const plans = {
  full: {
    start: { repeats: 9, firstPages: 25 },
    onDevice: {
      names: [
        'one-mbox', 'one-mbox-prefetch', 'ten-mboxes', 'page-load', 'views', 'global-mbox', 'rules-10', 'rules-1000', 'rules-10000',
        'rules-10-in-one', 'rules-100-in-one', 'rules-1000-in-one'
      ],
      repeats: 3,
      milliseconds: 500
    },
    memory: { visitors: 1_000_000, sdkVisitors: 50_000 },
    swap: { rules: [10, 1000, 10_000] },
    saturated: { connections: [1, 20, 100], repeats: 2, processesEach: 3, seconds: 2, warmup: 4 },
    afterIdle: { connections: 20, repeats: 2, processesEach: 3, idle: 10, seconds: 2, warmup: 4 },
    // 8 s, so that the opening of 100 connections is less than 1 % of the pages; bursts show that by itself.
    handler: { connections: [1, 20, 100], repeats: 3, seconds: 8, warmup: 2 },
    slowEdge: { repeats: 2, seconds: 2, warmup: 2 },
    bursts: { sizes: [100, 500], repeats: 3, times: 4, warmup: 2 },
    onDevicePage: { connections: 20, repeats: 2, processesEach: 3, seconds: 2, warmup: 4 },
    edgeNetworkPage: { connections: 20, repeats: 2, processesEach: 3, seconds: 2, warmup: 2 },
    variants: { connections: 20, repeats: 3, processesEach: 2, seconds: 3, warmup: 2 },
    outbox: { rate: 2000, repeats: 3, seconds: 30, records: 100_000 },
    ab: { connections: 20, repeats: 5, processesEach: 3, idle: 10, seconds: 1, warmup: 4 }
  },
  quick: {
    start: { repeats: 1, firstPages: 3 },
    onDevice: { names: ['one-mbox', 'global-mbox', 'rules-10', 'rules-10000'], repeats: 2, milliseconds: 100 },
    memory: { visitors: 100_000, sdkVisitors: 1000 },
    swap: { rules: [10_000] },
    saturated: { connections: [20], repeats: 2, seconds: 1, warmup: 1 },
    afterIdle: { connections: 20, repeats: 2, idle: 10, seconds: 1, warmup: 2 },
    handler: { connections: [100], repeats: 1, seconds: 0.8, warmup: 1 },
    slowEdge: { repeats: 1, seconds: 0.5, warmup: 0 },
    bursts: { sizes: [100], repeats: 1, times: 1, warmup: 1 },
    onDevicePage: { connections: 20, repeats: 1, seconds: 1, warmup: 1 },
    edgeNetworkPage: { connections: 20, repeats: 3, seconds: 1, warmup: 3 },
    variants: { connections: 20, repeats: 2, seconds: 2, warmup: 1 },
    outbox: { rate: 1000, repeats: 1, seconds: 3, records: 10_000 },
    ab: { connections: 20, repeats: 4, processesEach: 1, idle: 10, seconds: 1, warmup: 4 }
  },
  guard: {
    sections: ['saturated', 'on-device'],
    onDevice: { names: ['one-mbox'], repeats: 3, milliseconds: 200 },
    saturated: { names: ['hand-written', 'plugin'], connections: [20], repeats: 5, seconds: 2, warmup: 2 }
  }
}

/** Not a goal but an alarm: far below what is reached, far above what noise does. */
const LEAST_OF_HAND_WRITTEN = 0.5
const LEAST_TIMES_SDK = 20

/** What is wrong, one line each. */
export function guard ({ saturated = [], 'on-device': onDevice = [] }) {
  const failures = []
  for (const { contender, connections, ofHandWritten } of saturated) {
    if (contender === 'plugin' && !(ofHandWritten.median >= LEAST_OF_HAND_WRITTEN)) {
      failures.push(`at ${connections} connections the plugin serves ${(ofHandWritten.median * 100).toFixed(0)} % of the hand-written handler's pages, less than ${LEAST_OF_HAND_WRITTEN * 100} %`)
    }
  }
  for (const { title, ratio } of onDevice) {
    if (!(ratio.median >= LEAST_TIMES_SDK)) failures.push(`${title}: ${ratio.median.toFixed(1)} × the reference, less than ${LEAST_TIMES_SDK} ×`)
  }
  return failures
}
