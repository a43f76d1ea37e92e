// @ts-check
/** Making elements. Text is always text: nothing here takes markup. */

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The element of the page with this id. @param {string} id */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** Sets a text only where it differs, so that screen readers and selections are left alone. */
export function setText(/** @type {HTMLElement} */ target, /** @type {string} */ text) {
  if (target.textContent !== text) target.textContent = text;
}

/** A user's picture, or the first letter of the name. @param {import("./api.js").User} user */
export function avatar(user) {
  if (user.avatar_url) return element("img", { class: "avatar", src: user.avatar_url, alt: "" });
  return element("span", { class: "avatar", "aria-hidden": "true" }, [...user.name][0] ?? "");
}
