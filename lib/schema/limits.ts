/**
 * The limits of the Delivery API, in one place. Lengths are in UTF-16 code units.
 *
 * Sources: Adobe Target, "Limits" (target-limits); Delivery API specification of 2025-06. Where they disagree, the reading
 * that loses nothing is taken: 100 mbox parameters (the specification says 50), `thirdPartyId` and `categoryId` of 256
 * (128), and values of profile parameters cut at 256, which the section about profile attributes says are refused beyond
 * that, although another section says 5000.
 */

/** Mbox parameters of one mbox, page load, view or notification. */
export const MAX_PARAMETERS = 100
/** Profile parameters, likewise. */
export const MAX_PROFILE_PARAMETERS = 50
export const MAX_PARAMETER_NAME = 128
export const MAX_PARAMETER_VALUE = 5000
export const MAX_PROFILE_PARAMETER_VALUE = 256
export const MAX_MBOX_NAME = 250
export const MAX_VIEW_NAME = 128
/** Mboxes of one call, executed and prefetched ones together. */
export const MAX_MBOXES = 50
/** Notifications of one call. Adobe recommends it: they are processed one after the other. */
export const MAX_NOTIFICATIONS = 50
export const MAX_ID = 128
export const MAX_THIRD_PARTY_ID = 256
export const MAX_INTEGRATION_CODE = 50
export const MAX_CUSTOMER_IDS = 50
export const MAX_PRODUCT_ID = 128
export const MAX_CATEGORY_ID = 256
export const MAX_ORDER_ID = 250
export const MAX_PURCHASED_PRODUCT_ID = 50
/** Of all purchased product ids, joined by commas. */
export const MAX_PURCHASED_PRODUCT_IDS = 250
export const MAX_ADDRESS = 4096

/** Session ids: printable, without white space, `?`, `/`, `{` and `}`. */
export const SESSION_ID = '^[^\\s?/{}\\u0000-\\u001f\\u007f]{1,128}$'
