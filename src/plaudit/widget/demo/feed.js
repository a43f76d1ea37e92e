/** A feed: posts with their comments, messages, and under each a bar. */

import { avatar, element } from "./dom.js";

/** @typedef {import("./demo.js").User} User */
/** @typedef {import("./demo.js").Target} Target */
/** @typedef {import("../../widget/plaudit-bar.js").PlauditBar} PlauditBar */

const UNITS = /** @type {const} */ ([["day", 86_400], ["hour", 3_600], ["minute", 60]]);
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** @param {string} at RFC 3339 */
export function ago(at) {
  const seconds = (Date.now() - Date.parse(at)) / 1000;
  const [unit, size] = UNITS.find(([, each]) => seconds >= each) ?? ["minute", 60];
  return relative.format(-Math.floor(seconds / size), unit);
}

/**
 * All targets, comments below what they are about, and the bars by target.
 * @param {Target[]} targets @param {User[]} users
 */
export function feedOf(targets, users) {
  const feed = element("div", { class: "feed" });
  /** @type {Map<string, PlauditBar>} */
  const bars = new Map();
  /** @type {Map<string, HTMLElement>} */
  const below = new Map();
  for (const target of targets) {
    const author = users.find(({ id }) => id === target.author) ?? users[0];
    const bar = /** @type {PlauditBar} */ (document.createElement("plaudit-bar"));
    bar.setAttribute("target", target.id);
    bar.setAttribute("type", target.type);
    bar.setAttribute("label", `${author.name}’s ${target.type}`);
    if (target.parent) bar.toggleAttribute("compact", true);
    bars.set(target.id, bar);
    const comments = element("div", { class: "comments" });
    below.set(target.id, comments);
    (below.get(target.parent ?? "") ?? feed).append(card(target, author, bar, comments));
  }
  return { element: feed, bars };
}

/** @param {Target} target @param {User} author @param {PlauditBar} bar @param {HTMLElement} comments */
function card(target, author, bar, comments) {
  const meta = element("p", { class: "meta" }, element("time", { datetime: target.posted_at }, ago(target.posted_at)));
  if (target.type === "message") meta.append(" · ", element("span", { class: "badge" }, "Group chat"));
  if (target.closed) meta.append(" · ", element("span", { class: "badge" }, "Closed"));
  const name = element(target.parent ? "h4" : "h3", {}, author.name);
  const found = element(
    "article", { class: `card ${target.type}`, "data-target": target.id },
    avatar(author), element("div", { class: "byline" }, name, meta), element("p", { class: "text" }, target.text),
  );
  if (target.picture) {
    const { file, alt } = target.picture;
    const src = new URL(file, import.meta.url).href;
    found.append(element("img", { class: "picture", src, alt, width: "640", height: "320" }));
  }
  found.append(element("div", { class: "reacts" }, bar), comments);
  return found;
}
