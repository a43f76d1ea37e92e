/**
 * The face of a user: their picture, or the first letter of their name. Addresses come from users, so a picture is loaded
 * only from the page, the service, or an origin that the page allows, and nobody there learns which page it is.
 */

import { make } from "./dom.js";

const HUES = 12;

/** For the sheet of whoever shows faces. */
export const FACES = `
.picture{flex:none;display:grid;place-items:center;inline-size:42px;block-size:42px;border-radius:50%;object-fit:cover;
  font-weight:600;color:#fff;background:hsl(var(--hue) 42% 40%)}
.ghost{display:flex;align-items:center;gap:12px}
.ghost .name{flex:1}
.ghost .picture{color:inherit}
.ghost .picture,.ghost .name::before{background:color-mix(in srgb,currentColor 12%,transparent)}
.ghost .name::before{content:"";display:block;block-size:12px;inline-size:45%;border-radius:6px}
@media(forced-colors:active){.picture{border:1px solid}}
`;

/** Where pictures may come from. @param {string} root the service @param {string[]} more what the page allows besides */
export function originsOf(root, more) {
  return new Set([location.origin, new URL(root).origin, ...more]);
}

/** @param {{id: string, name?: string | null, avatar_url?: string | null}} user @param {Set<string>} origins */
export function face({ id, name, avatar_url: address }, origins) {
  const first = [...String(name ?? id).trim()][0]?.toUpperCase() ?? "";
  const letter = make("span", { class: "picture", "aria-hidden": "true" }, first);
  const sum = [...id].reduce((so, c) => so + (c.codePointAt(0) ?? 0), 0);
  letter.style.setProperty("--hue", String((360 / HUES) * (sum % HUES)));
  const src = address && allowed(address, origins);
  if (!src) return letter;
  const picture = make("img", {
    class: "picture", alt: "", loading: "lazy", decoding: "async", referrerpolicy: "no-referrer", width: "42", height: "42",
  });
  picture.addEventListener("error", () => picture.replaceWith(letter), { once: true });
  picture.src = src;
  return picture;
}

/** The row of somebody who is not there yet. */
export function ghost() {
  const parts = [make("span", { class: "picture" }), make("span", { class: "name" })];
  return make("li", { class: "ghost", "aria-hidden": "true" }, ...parts);
}

/** The whole address; a path is one on the page's site. @param {string} address @param {Set<string>} origins */
function allowed(address, origins) {
  const url = URL.canParse(address, location.href) ? new URL(address, location.href) : null;
  return url && /^https?:$/.test(url.protocol) && origins.has(url.origin) ? url.href : null;
}
