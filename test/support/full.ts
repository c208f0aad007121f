/**
 * Whether the long comparisons run in full, and the documents' examples with every test runner (`npm run test:full`). In
 * `npm test` they make a part of their cases, always the same.
 */
export const FULL = process.env.TEST_FULL === '1'
