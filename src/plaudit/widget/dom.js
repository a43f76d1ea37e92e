/** Making elements. Text is always text: nothing here takes markup, so nothing that a user wrote is executed. */

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/**
 * A button that is part of the bar under this name.
 * @param {string} part
 * @param {Record<string, string>} attributes
 * @param {...(Node | string)} children
 */
export function button(part, attributes, ...children) {
  return make("button", { type: "button", part, class: part, ...attributes }, ...children);
}

/** A picture that a screen reader passes over. @param {string} text */
export function emoji(text) {
  return make("span", { class: "emoji", "aria-hidden": "true" }, text);
}

/** The language of what is around an element, out of shadow roots too. @param {Element} element @returns {string} */
export function languageOf(element) {
  const around = element.closest("[lang]");
  const { host } = /** @type {ShadowRoot} */ (element.getRootNode());
  return around?.getAttribute("lang") || (host ? languageOf(host) : navigator.language);
}

/**
 * Sets what differs, so that screen readers, styles and selections are left alone.
 * @param {Element} element
 * @param {string} name
 * @param {string | null} value
 */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** As `setAttribute`. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
