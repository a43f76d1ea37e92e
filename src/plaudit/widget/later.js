/**
 * What a page needs soon, but not before bars are there: live counts and kept wishes, in one request for the modules.
 */

export { Live } from "./live.js";
export { Outbox } from "./outbox.js";
