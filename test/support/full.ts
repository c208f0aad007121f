/** Whether the long comparisons run in full (`npm run test:full`); in `npm test` they make a part of their cases, always the same. */
export const FULL = process.env.TEST_FULL === '1'
