/** What a page needs soon, but not before bars are there: live counts and kept wishes, in one request for the modules. */

export { Live } from "./live.js";
export { Outbox } from "./outbox.js";

/**
 * Whose token it is (its `sub`), null if it does not say. Unproven: only to keep users apart on this device.
 * @param {string | null} token @returns {string | null}
 */
export function subject(token) {
  try {
    const bytes = atob(/** @type {string} */ (token?.split(".")[1]).replace(/-/g, "+").replace(/_/g, "/"));
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))));
    return typeof claims.sub === "string" ? claims.sub : null;
  } catch {
    return null;
  }
}
