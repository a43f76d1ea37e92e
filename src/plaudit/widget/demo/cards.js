// @ts-check
/** A target on the page: who said what when, how many reacted, and its bar. */

import { ReactionBar } from "./bar.js";
import { avatar, element, setText } from "./dom.js";
import { ago, belongingTo, number, sentence } from "./words.js";

const FIRST_OFFER = "like";

/**
 * @typedef {import("./api.js").User} User
 * @typedef {import("./bar.js").Reaction} Reaction
 * @typedef {{id: string, type: string, parent: string | null, author: string, text: string, closed: boolean,
 *   posted_at: string, picture: {file: string, alt: string} | null}} Target
 * @typedef {object} Actions
 * @property {(target: string, reaction: string | null) => void} wish
 * @property {(target: string, subject: string) => void} who
 */

export class Card {
  /** The number shown for each reaction. @type {Map<string, HTMLElement>} */
  #numbers = new Map();

  /**
   * @param {Target} target
   * @param {User} author
   * @param {Reaction[]} reactions
   * @param {Actions} actions
   */
  constructor(target, author, reactions, actions) {
    this.target = target;
    this.reactions = reactions;
    this.subject = belongingTo(author.name, target.type);
    this.bar = new ReactionBar(this.subject, reactions, (reaction) => actions.wish(target.id, reaction));
    this.time = element("time", { datetime: target.posted_at }, ago(target.posted_at));
    this.counts = element("ul", { class: "counts", "aria-label": "Reactions" });
    this.summary = element("span");
    this.who = element(
      "button", { type: "button", class: "who", "aria-haspopup": "dialog" },
      this.summary, element("span", { class: "sr" }, ", show who reacted"),
    );
    this.who.addEventListener("click", () => actions.who(target.id, this.subject));
    this.tally = element("div", { class: "tally" }, this.counts, this.who);
    this.comments = element("div", { class: "comments" });
    this.element = this.#build(author);
  }

  /** @param {import("./state.js").TargetState} state @param {string} me */
  show(state, me) {
    const shown = state.shown;
    this.bar.show(shown.own, state.lastUsed ?? FIRST_OFFER, state.counts.reactions, state.waiting);
    setText(this.summary, sentence(shown, me));
    this.tally.hidden = shown.total === 0;
    this.element.dataset.version = String(state.counts.version);
    this.element.dataset.total = String(shown.total);
    for (const reaction of this.reactions) this.#count(reaction, shown.reactions[reaction.name] ?? 0);
    this.#order(shown.reactions);
  }

  /** Times grow old. */
  tick() {
    setText(this.time, ago(this.target.posted_at));
  }

  /** @param {User} author */
  #build(author) {
    const { target } = this;
    const heading = element(target.parent ? "h3" : "h2", {}, author.name);
    const meta = element("p", { class: "meta" }, this.time);
    if (target.type === "message") meta.append(" · ", element("span", { class: "badge" }, "Group chat"));
    if (target.closed) meta.append(" · ", element("span", { class: "badge" }, "Closed"));
    const body = element(
      "div", { class: "body" }, element("div", { class: "byline" }, heading, meta), element("p", { class: "text" }, target.text),
    );
    const card = element(
      "article", { class: `card ${target.type}`, "data-target": target.id, "aria-label": this.subject },
      avatar(author), body,
    );
    if (target.picture) {
      const { file, alt } = target.picture;
      const src = new URL(file, import.meta.url).href;
      card.append(element("img", { class: "picture", src, alt, width: "640", height: "320" }));
    }
    card.append(element("div", { class: "reacts" }, this.bar.element, this.tally), this.comments);
    return card;
  }

  /** @param {Reaction} reaction @param {number} count */
  #count(reaction, count) {
    let shown = this.#numbers.get(reaction.name);
    if (!shown) {
      shown = element("span", { class: "number" });
      const emoji = element("span", { class: "emoji", "aria-hidden": "true" }, reaction.emoji);
      const label = element("span", { class: "sr" }, ` ${reaction.label}`);
      this.counts.append(element("li", { "data-count": reaction.name }, emoji, shown, label));
      this.#numbers.set(reaction.name, shown);
    }
    setText(shown, number(count));
    /** @type {HTMLElement} */ (shown.parentElement).hidden = count === 0;
  }

  /** The most frequent first; equal ones as in the catalogue. @param {Record<string, number>} counts */
  #order(counts) {
    const before = [...this.counts.children];
    const order = this.reactions
      .map((reaction) => reaction.name)
      .sort((one, other) => (counts[other] ?? 0) - (counts[one] ?? 0));
    const after = order.map((name) => /** @type {Element} */ (this.#numbers.get(name)?.parentElement));
    if (after.some((item, index) => item !== before[index])) this.counts.append(...after);
  }
}
