/** Medians, percentiles and spreads. */

/** @param {number[]} sorted ascending */
export function percentile (sorted, percent) {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * percent / 100) - 1)]
}

export function median (values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Median of repeats with the least and the greatest. */
export const spread = (values) => ({ median: median(values), least: Math.min(...values), greatest: Math.max(...values) })
