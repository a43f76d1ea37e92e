/**
 * The messages of the bell, newest first. The line of a message stays as long as the message is there, and only what
 * differs is drawn, so that who is on a line stays on it however often the bell looks.
 */

import { make, setAttribute, setText } from "./dom.js";
import { face, ghost } from "./faces.js";
import { Transport } from "./transport.js";

/** @typedef {{id: string, target_id: string, text: string, reactions: Record<string, number>, at: string, read: boolean,
 *   sample: {id: string, name: string, avatar_url: string | null}[]}} Notification */
/**
 * @typedef {object} About what the lines show besides
 * @property {Set<string>} fresh ids that are marked as new
 * @property {string} mark what the mark is called
 * @property {string} locale
 * @property {string | null} link where a message leads
 * @property {Set<string>} origins that pictures may come from
 * @property {(reaction: string) => string} emoji
 */

/** What reactions look like, by service. @type {Map<string, Promise<Map<string, string>>>} */
const catalogues = new Map();

/** Asked for once. @param {string} root where the service is */
export function emojiOf(root) {
  const asked = catalogues.get(root) ?? new Transport({ endpoint: root }).call("GET", "catalogue", { open: true })
    .then(({ reactions }) => new Map(reactions.map((/** @type {any} */ { name, emoji }) => [name, emoji])));
  catalogues.set(root, asked);
  asked.catch(() => catalogues.delete(root));
  return asked;
}

class Line {
  /** What is drawn. */
  #shown = "";
  /** @type {Notification} */
  message;
  #when = make("time");
  item;
  row;

  /** @param {Notification} message @param {boolean} leads whether it is a link */
  constructor(message, leads) {
    this.message = message;
    this.item = leads ? make("a", { class: "item" }) : make("button", { class: "item", type: "button" });
    this.row = make("li", {}, this.item);
  }

  /** @param {Notification} message @param {About} about */
  draw(message, { fresh, mark, locale, link, origins, emoji }) {
    this.message = message;
    const { id, target_id: target, text, at, sample: [first] } = message;
    const unread = fresh.has(id) || !message.read;
    const emojis = Object.keys(message.reactions).map(emoji).join("");
    const shown = JSON.stringify([target, text, at, first, unread, emojis, mark, locale, link, [...origins]]);
    if (shown !== this.#shown) {
      this.#shown = shown;
      if (link) setAttribute(this.item, "href", link.replaceAll("{target}", encodeURIComponent(target)));
      this.item.classList.toggle("unread", unread);
      setAttribute(this.#when, "datetime", at);
      setAttribute(this.#when, "title", new Date(at).toLocaleString(locale));
      this.item.replaceChildren(
        face(first ?? { id: "", name: "•" }, origins),
        make("div", { class: "words" },
          make("div", { class: "text", dir: "auto" }, text),
          make("div", { class: "when" }, make("span", { class: "emoji", "aria-hidden": "true" }, emojis), this.#when)),
        ...(unread ? [make("span", { class: "dot", role: "img", "aria-label": mark })] : []),
      );
    }
    setText(this.#when, ago(at, locale));
  }
}

export class Lines {
  list = make("ul", { class: "list", role: "list", tabindex: "-1" });
  /** @type {Map<string, Line>} */
  #known = new Map();

  /** @param {(message: Notification, event: Event) => void} open called when one is chosen */
  constructor(open) {
    this.open = open;
  }

  /** @param {Notification[]} messages @param {About} about */
  draw(messages, about) {
    /** @type {HTMLElement | null} */
    const focused = this.list.querySelector(":focus");
    const before = this.#known;
    this.#known = new Map(messages.map((message) => [message.id, this.#line(before.get(message.id), message, !!about.link)]));
    /** @type {Set<Element>} */
    const rows = new Set([...this.#known.values()].map(({ row }) => row));
    for (const row of [...this.list.children]) if (!rows.has(row)) row.remove();
    let at = 0;
    for (const row of rows) {
      const there = this.list.children[at];
      if (there !== row) this.list.insertBefore(row, there ?? null);
      at += 1;
    }
    for (const message of messages) this.#known.get(message.id)?.draw(message, about);
    setAttribute(this.list, "aria-busy", null);
    if (focused) (focused.isConnected ? focused : this.list).focus({ preventScroll: true }); // it may have been moved
  }

  /** Until there is something to draw. */
  wait() {
    setAttribute(this.list, "aria-busy", "true");
    this.list.replaceChildren(...Array.from({ length: 3 }, ghost));
  }

  forget() {
    this.#known.clear();
    this.list.replaceChildren();
  }

  /** @param {number} at */
  focus(at) {
    [...this.#known.values()][at]?.item.focus();
  }

  /** The line there is, if it will do. @param {Line | undefined} known @param {Notification} message @param {boolean} leads */
  #line(known, message, leads) {
    if (known && (known.item.localName === "a") === leads) return known;
    const line = new Line(message, leads);
    line.item.addEventListener("click", (event) => this.open(line.message, event));
    return line;
  }
}

/** @param {string} at @param {string} locale */
function ago(at, locale) {
  const seconds = Math.round((Date.parse(at) - Date.now()) / 1000);
  const format = new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "short" });
  for (const [unit, size] of /** @type {const} */ ([["day", 86_400], ["hour", 3_600], ["minute", 60]])) {
    if (Math.abs(seconds) >= size) return format.format(Math.trunc(seconds / size), unit);
  }
  return format.format(Math.min(0, seconds), "second");
}
