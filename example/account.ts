/** The Target account of this shop. The local edge takes any; the real one takes yours. */
export const client = 'acmeclient'
export const organizationId = '1234567890@AdobeOrg'
/** With `--web-sdk`: the server's datastream, without Analytics, and the browser's. */
export const datastreams = { server: '3849362e-f325-4418-9cc0-e2f7ba1ba0ac', browser: 'b0a5a0f0-7a02-4d5c-8c9b-cb5ab0f0b3a1' }
