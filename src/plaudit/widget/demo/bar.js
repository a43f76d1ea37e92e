// @ts-check
/**
 * The bar under a target: a button that gives and takes back, and a picker with every reaction.
 *
 * The picker opens on hover, on keyboard focus, on a long press, with an arrow key and with a button of its own, and
 * closes with Escape, a choice, or when pointer and focus are elsewhere. Knows nothing of the service.
 */

import { element } from "./dom.js";

const HOVER_MS = 350;
const LEAVE_MS = 250;
const LONG_PRESS_MS = 450;
const EDGE_PX = 8;
const STEPS = new Map([["ArrowRight", 1], ["ArrowDown", 1], ["ArrowLeft", -1], ["ArrowUp", -1]]);

/** @typedef {{name: string, emoji: string, label: string}} Reaction */

/** The bar whose picker is open. @type {ReactionBar | null} */
let open = null;
let ids = 0;

export class ReactionBar {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** What a press of the main button wishes for. @type {string | null} */
  #offer = null;
  /** @type {string | null} */
  #own = null;
  #longPressed = false;
  #returning = false;

  /**
   * @param {string} subject whose what: "Emi Tanaka’s post"
   * @param {Reaction[]} reactions
   * @param {(reaction: string | null) => void} wish
   */
  constructor(subject, reactions, wish) {
    this.wish = wish;
    this.reactions = new Map(reactions.map((reaction) => [reaction.name, reaction]));
    const id = `picker-${(ids += 1)}`;
    this.emoji = element("span", { class: "emoji", "aria-hidden": "true" });
    this.label = element("span", { class: "label" });
    this.main = element("button", { type: "button", class: "main", "aria-pressed": "false" }, this.emoji, this.label);
    this.choices = reactions.map((reaction) => this.#choice(reaction));
    this.picker = element("div", { class: "picker", id, role: "group", "aria-label": "Choose a reaction" }, ...this.choices);
    this.picker.hidden = true;
    this.more = element("button", {
      type: "button", class: "more", "aria-label": "Choose a reaction", "aria-expanded": "false", "aria-controls": id,
    }, element("img", { src: new URL("smile.svg", import.meta.url).href, alt: "", width: "24", height: "24" }));
    this.element = element(
      "div", { class: "bar", role: "group", "aria-label": `React to ${subject}` }, this.main, this.picker, this.more,
    );
    this.#listen();
  }

  /**
   * @param {string | null} own
   * @param {string} offered what the main button offers where there is no own reaction
   * @param {Record<string, number>} counts those that may be given are its keys
   * @param {boolean} waiting
   */
  show(own, offered, counts, waiting) {
    const changed = own !== this.#own && own !== null;
    const shown = this.reactions.get(own ?? offered);
    this.#own = own;
    this.#offer = own === null ? offered : null;
    this.main.setAttribute("aria-pressed", String(own !== null));
    this.main.dataset.reaction = own ?? "";
    this.element.dataset.waiting = String(waiting);
    this.emoji.textContent = shown?.emoji ?? "👍";
    this.label.textContent = shown?.label ?? own ?? offered;
    if (changed) this.#pop();
    for (const choice of this.choices) {
      const name = choice.dataset.reaction ?? "";
      choice.hidden = !(name in counts);
      choice.setAttribute("aria-pressed", String(name === own));
    }
    this.#rove(this.#current());
  }

  /** Opens the picker. @param {boolean} focus whether the keyboard goes there */
  openPicker(focus) {
    clearTimeout(this.#timer);
    if (open !== this) open?.closePicker();
    open = this;
    this.picker.hidden = false;
    this.more.setAttribute("aria-expanded", "true");
    this.#keepInside();
    if (focus) this.#current().focus();
  }

  closePicker() {
    clearTimeout(this.#timer);
    if (open === this) open = null;
    if (this.picker.contains(document.activeElement)) this.#focusMain();
    this.picker.hidden = true;
    this.more.setAttribute("aria-expanded", "false");
  }

  /** @param {Reaction} reaction */
  #choice(reaction) {
    const emoji = element("span", { class: "emoji", "aria-hidden": "true" }, reaction.emoji);
    const tip = element("span", { class: "tip", "aria-hidden": "true" }, reaction.label);
    const button = element(
      "button",
      { type: "button", class: "choice", "aria-label": reaction.label, "data-reaction": reaction.name, tabindex: "-1" },
      emoji, tip,
    );
    button.addEventListener("click", () => {
      this.wish(this.#own === reaction.name ? null : reaction.name);
      this.closePicker();
    });
    return button;
  }

  #listen() {
    this.main.addEventListener("click", () => {
      clearTimeout(this.#timer);
      if (this.#longPressed) {
        this.#longPressed = false; // the click that ends a long press
        return;
      }
      if (open === this) this.closePicker();
      this.wish(this.#offer);
    });
    this.more.addEventListener("click", (event) => {
      if (open === this) this.closePicker();
      else this.openPicker(event.detail === 0); // 0: by the keyboard
    });
    this.element.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse") this.#later(() => this.openPicker(false), HOVER_MS);
    });
    this.element.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "mouse") return;
      if (this.picker.contains(document.activeElement)) clearTimeout(this.#timer);
      else this.#later(() => this.closePicker(), LEAVE_MS);
    });
    this.#listenToTouch();
    this.main.addEventListener("focus", () => {
      if (this.main.matches(":focus-visible") && !this.#returning) this.#later(() => this.openPicker(false), HOVER_MS);
    });
    this.element.addEventListener("focusout", (event) => {
      const to = /** @type {Node | null} */ (event.relatedTarget);
      if (to && !this.element.contains(to)) this.closePicker();
      if (to === null || !this.element.contains(to)) clearTimeout(this.#timer);
    });
    this.element.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #listenToTouch() {
    this.main.addEventListener("pointerdown", (event) => {
      this.#longPressed = false;
      if (event.pointerType === "mouse") return;
      this.#later(() => {
        this.#longPressed = true;
        this.openPicker(false);
      }, LONG_PRESS_MS);
    });
    for (const type of /** @type {const} */ (["pointerup", "pointercancel"])) {
      this.main.addEventListener(type, (event) => {
        if (event.pointerType !== "mouse") clearTimeout(this.#timer);
      });
    }
    this.main.addEventListener("contextmenu", (event) => {
      if (this.#longPressed) event.preventDefault();
    });
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const step = STEPS.get(event.key);
    if (event.target === this.main || event.target === this.more) {
      if (step === undefined) return;
      event.preventDefault();
      this.openPicker(true);
      return;
    }
    const visible = this.choices.filter((choice) => !choice.hidden);
    const at = visible.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    let to = -1;
    if (step !== undefined) to = (at + step + visible.length) % visible.length;
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = visible.length - 1;
    if (at < 0 || to < 0) return;
    event.preventDefault();
    this.#rove(visible[to]);
    visible[to].focus();
  }

  /** The choice that the keyboard comes to first: one's own, else the first. */
  #current() {
    const visible = this.choices.filter((choice) => !choice.hidden);
    return visible.find((choice) => choice.dataset.reaction === this.#own) ?? visible[0] ?? this.choices[0];
  }

  /** One stop for the Tab key. @param {HTMLElement} current */
  #rove(current) {
    if (this.picker.contains(document.activeElement) && document.activeElement !== current) {
      current = /** @type {HTMLElement} */ (document.activeElement);
    }
    for (const choice of this.choices) choice.tabIndex = choice === current ? 0 : -1;
  }

  #focusMain() {
    this.#returning = true; // or coming back would open the picker again
    this.main.focus();
    this.#returning = false;
  }

  /** @param {() => void} action @param {number} afterMs */
  #later(action, afterMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, afterMs);
  }

  /** Measured without the picker's own box, which is small while it grows. */
  #keepInside() {
    const bar = this.element.getBoundingClientRect();
    const over = bar.left + this.picker.offsetWidth - (document.documentElement.clientWidth - EDGE_PX);
    this.picker.style.left = over > 0 ? `${-over}px` : "";
    this.picker.classList.toggle("below", bar.top - this.picker.offsetHeight < 2 * EDGE_PX);
  }

  #pop() {
    this.emoji.classList.remove("pop");
    void this.emoji.offsetWidth; // starts the animation again
    this.emoji.classList.add("pop");
  }
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") open?.closePicker();
});
document.addEventListener("pointerdown", (event) => {
  if (open && !open.element.contains(/** @type {Node} */ (event.target))) open.closePicker();
});
