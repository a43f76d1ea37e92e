// @ts-check
/** The dialog that says who reacted, page by page. */

import { TryAgain } from "./api.js";
import { avatar, byId, element, setText } from "./dom.js";
import { ago, number } from "./words.js";

const PAGE = 5;

/** @typedef {import("./bar.js").Reaction} Reaction */

export class PeopleDialog {
  #dialog = /** @type {HTMLDialogElement} */ (byId("people"));
  #title = byId("people-title");
  #filters = byId("people-filters");
  #list = byId("people-list");
  #note = byId("people-note");
  #more = /** @type {HTMLButtonElement} */ (byId("people-more"));
  #target = "";
  /** @type {string | undefined} */
  #type;
  /** @type {string | undefined} */
  #cursor;
  /** Which loading is the newest; what an older one brings is too late. */
  #loading = 0;
  /** @type {import("./api.js").Api | null} */
  #api = null;

  /** @param {Reaction[]} reactions */
  constructor(reactions) {
    this.reactions = reactions;
    byId("people-close").addEventListener("click", () => this.#dialog.close());
    this.#more.addEventListener("click", () => void this.#load());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // beside the dialog
    });
  }

  /**
   * @param {import("./api.js").Api} api
   * @param {string} target
   * @param {string} subject
   * @param {import("./state.js").Shown} shown
   */
  open(api, target, subject, shown) {
    this.#api = api;
    this.#target = target;
    setText(this.#title, `Who reacted to ${subject}`);
    const there = this.reactions.filter((reaction) => shown.reactions[reaction.name]);
    this.#filters.replaceChildren(
      this.#filter(undefined, "All", shown.total),
      ...there.map((reaction) => this.#filter(reaction, reaction.label, shown.reactions[reaction.name])),
    );
    this.#choose(undefined);
    this.#dialog.showModal();
  }

  /**
   * @param {Reaction | undefined} reaction
   * @param {string} label
   * @param {number} count
   */
  #filter(reaction, label, count) {
    const button = element(
      "button", { type: "button", "aria-label": `${label}, ${number(count)}`, "data-type": reaction?.name ?? "" },
      element("span", reaction ? { class: "emoji" } : {}, reaction?.emoji ?? label), element("span", { class: "number" }, number(count)),
    );
    button.addEventListener("click", () => this.#choose(reaction?.name));
    return button;
  }

  /** @param {string | undefined} type */
  #choose(type) {
    this.#type = type;
    this.#cursor = undefined;
    this.#list.replaceChildren();
    for (const button of this.#filters.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.type === (type ?? "")));
    }
    void this.#load();
  }

  async #load() {
    const loading = (this.#loading += 1);
    const first = this.#cursor === undefined;
    this.#list.setAttribute("aria-busy", "true");
    setText(this.#note, "");
    try {
      const page = await this.#api?.reactors(this.#target, { type: this.#type, cursor: this.#cursor, limit: PAGE });
      if (!page || loading !== this.#loading) return;
      const items = page.reactors.map((reactor) => this.#person(reactor));
      this.#list.append(...items);
      this.#cursor = page.next_cursor ?? undefined;
      setText(this.#more, "Show more");
      if (!first && !this.#cursor) items[0]?.focus(); // the button goes away, the reader stays
      this.#more.hidden = !this.#cursor;
      if (first && items.length === 0) setText(this.#note, "Nobody yet.");
    } catch (error) {
      if (loading !== this.#loading) return;
      setText(this.#note, error instanceof TryAgain ? "The list cannot be read right now." : String(error));
      setText(this.#more, "Try again");
      this.#more.hidden = false;
    } finally {
      if (loading === this.#loading) this.#list.setAttribute("aria-busy", "false");
    }
  }

  /** @param {import("./api.js").Reactor} reactor */
  #person({ user, reaction, reacted_at: at }) {
    const known = this.reactions.find((one) => one.name === reaction);
    const badge = element("span", { class: "emoji mark", "aria-hidden": "true" }, known?.emoji ?? "");
    return element(
      "li", { tabindex: "-1" },
      element("span", { class: "face" }, avatar(user), badge),
      element("span", { class: "name" }, user.name),
      element("span", { class: "meta" }, `${known?.label ?? reaction} · `, element("time", { datetime: at }, ago(at))),
    );
  }
}
