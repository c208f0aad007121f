/** Tables for the terminal, also readable as Markdown. */

/**
 * @param {object[]} rows
 * @param {Record<string, (row: object) => string | number>} columns cell by heading
 */
export function table (rows, columns) {
  const lines = [Object.keys(columns), ...rows.map((row) => Object.values(columns).map((cell) => String(cell(row))))]
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  const isNumber = lines[0].map((_, column) => lines.slice(1).every((line) => /^[\d.,+−×% ]*$/.test(line[column])))
  const text = lines.map((line) => `| ${line.map((cell, column) => isNumber[column] ? cell.padStart(widths[column]) : cell.padEnd(widths[column])).join(' | ')} |`)
  const rule = `|${widths.map((width, column) => `${'-'.repeat(width + 1)}${isNumber[column] ? ':' : '-'}`).join('|')}|`
  return [text[0], rule, ...text.slice(1)].join('\n')
}
