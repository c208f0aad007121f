/** The Target account of this shop. The local edge takes any; the real one takes yours. */
export const client = 'acmeclient'
export const organizationId = '1234567890@AdobeOrg'
