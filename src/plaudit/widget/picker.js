/**
 * The picker of a bar: every reaction that may be given, above everything else on the page. Opens on hover, a long
 * press, an arrow key or its button; closes with Escape, a choice, or when pointer and focus are elsewhere. A finger
 * that opened it may slide to its choice.
 */

import { button, emoji, make, setAttribute } from "./dom.js";
import { laterSheet } from "./styles.js";

const HOVER_MS = 350;
const LEAVE_MS = 300;
const LONG_PRESS_MS = 400;
const EDGE_PX = 8;

// First what bars themselves show only to who is at them.
laterSheet.replaceSync(`
@media(hover:hover){.react:hover::before,.more:hover::before{background:color-mix(in srgb,currentColor 13%,transparent)}
.count:hover :is(.total,.sentence){text-decoration:underline}}
@media(prefers-reduced-motion:reduce){*,::before{animation-duration:0s!important;transition:none!important}}
.waiting .react::after{content:"";position:absolute;inset-block-start:7px;inset-inline-end:5px;width:6px;height:6px;
  border-radius:50%;background:currentColor;animation:late 0s 3s both}
@keyframes late{from{opacity:0}}
.picker{position:fixed;inset:auto;margin:0;padding:4px;flex-wrap:wrap;max-inline-size:min(412px,var(--room));
  border-radius:28px;overflow:visible}
.picker:popover-open{display:flex;animation:rise .14s ease-out}
@keyframes rise{from{opacity:0;transform:translateY(6px) scale(.96)}}
.choice{inline-size:48px;block-size:48px;border-radius:50%}
.choice .emoji{display:block;font-size:30px;transition:transform .12s ease-out}
.choice[aria-pressed=true]{background:color-mix(in srgb,var(--accent) 20%,transparent)}
.choice:focus-visible{outline-offset:-2px;border-radius:50%}
.tip{position:absolute;inset:auto auto 100% 0;max-inline-size:var(--room);padding:2px 9px;border-radius:9px;
  background:var(--text);color:var(--surface);font-size:13px;font-weight:600;white-space:nowrap;overflow:hidden;
  text-overflow:ellipsis;pointer-events:none;opacity:0}
.choice:is(:hover,:focus-visible,.under) .tip{opacity:1}
.choice.under .emoji{transform:scale(1.25) translateY(-3px)}
@media(hover:hover){.choice:hover .emoji{transform:scale(1.25) translateY(-3px)}}
@media(prefers-reduced-motion:reduce){.choice:is(:hover,.under) .emoji{transform:none}}
@media(forced-colors:active){.choice[aria-pressed=true]{background:Highlight;forced-color-adjust:none}
  .tip{border:1px solid}}
`);

/** @typedef {import("./session.js").Reaction} Reaction */

/** The picker that is open, on the whole page. @type {Picker | null} */
let open = null;

export class Picker {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #longPressed = false;
  /** Whether nobody asked for it: a pointer passed by. */
  #hovered = false;
  /** Where the bar was when it opened. */
  #at = "";
  /** @type {HTMLButtonElement[]} */
  #choices = [];
  #box = make("div", { part: "picker", class: "picker", id: "picker", role: "toolbar", popover: "manual" });

  /**
   * @param {HTMLElement} split holds both buttons, and gets the picker
   * @param {HTMLButtonElement} react
   * @param {HTMLButtonElement} more
   * @param {{offer: () => {reactions: Reaction[], own: string | null, words: import("./texts.js").Words} | null, choose: (name: string | null) => void}} bar
   *   `offer`: what may be given, null for nothing now
   */
  constructor(split, react, more, bar) {
    this.split = split;
    this.react = react;
    this.more = more;
    this.bar = bar;
    split.append(this.#box);
    split.addEventListener("pointerenter", ({ pointerType }) => {
      if (pointerType !== "mouse") return;
      this.#later(() => {
        this.#hovered = open !== this;
        this.open(false);
      }, HOVER_MS);
    });
    split.addEventListener("pointerleave", ({ pointerType }) => {
      if (pointerType === "mouse") this.#later(() => this.#box.matches(":focus-within") || this.close(), LEAVE_MS);
    });
    react.addEventListener("pointerdown", ({ pointerType }) => {
      this.#longPressed = false;
      if (pointerType === "mouse") return clearTimeout(this.#timer);
      this.#later(() => {
        this.open(false);
        this.#longPressed = open === this;
      }, LONG_PRESS_MS);
    });
    for (const type of ["pointerup", "pointercancel"]) react.addEventListener(type, () => clearTimeout(this.#timer));
    // After a long press the finger may slide onto a choice and let go there, and the page stays where it is.
    react.addEventListener("touchmove", (event) => {
      if (!this.#longPressed) return;
      event.preventDefault();
      this.#under(event.targetTouches[0]);
    }, { passive: false });
    for (const type of ["touchend", "touchcancel"]) {
      react.addEventListener(type, (event) => this.#longPressed && this.#letGo(/** @type {TouchEvent} */ (event)));
    }
    react.addEventListener("contextmenu", (event) => this.#longPressed && event.preventDefault());
    split.addEventListener("keydown", (event) => this.#key(event));
    split.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget && !split.contains(/** @type {Node} */ (relatedTarget))) this.close();
    });
  }

  /** Whether this click only ended a long press. */
  tookClick() {
    const took = this.#longPressed;
    this.#longPressed = false;
    if (!took) this.close();
    return took;
  }

  /** The long press is over: what is under the finger is chosen. @param {TouchEvent} event */
  #letGo(event) {
    this.#longPressed = false;
    const choice = this.#under(event.changedTouches[0]);
    choice?.classList.remove("under");
    if (event.type === "touchcancel") return;
    event.preventDefault(); // no click comes
    choice?.click();
  }

  /** Marks the choice at this point. @param {Touch} touch */
  #under({ clientX, clientY }) {
    const root = /** @type {ShadowRoot} */ (this.split.getRootNode());
    const there = root.elementFromPoint(clientX, clientY);
    const found = this.#choices.find((choice) => choice.contains(there));
    for (const choice of this.#choices) choice.classList.toggle("under", choice === found);
    return found;
  }

  /**
   * Opens it, or closes it. What only hovering opened stays: that is what the click was for.
   * @param {boolean} focus whether the keyboard goes there
   */
  toggle(focus) {
    if (open === this && !this.#hovered) this.close();
    else this.open(focus);
    this.#hovered = false;
  }

  /** @param {boolean} focus whether the keyboard goes there */
  open(focus) {
    clearTimeout(this.#timer);
    const offer = this.bar.offer();
    if (!offer || offer.reactions.length < 2) return;
    if (open !== this) {
      open?.close();
      this.#fill(offer);
      open = this;
      this.#box.showPopover?.();
      setAttribute(this.more, "aria-expanded", "true");
      this.#place();
      for (const [type, listen] of Object.entries(outside)) addEventListener(type, listen, true);
    }
    if (focus) this.#choices.find((choice) => choice.tabIndex === 0)?.focus();
  }

  close() {
    clearTimeout(this.#timer);
    if (open !== this) return;
    open = null;
    const had = this.#box.matches(":focus-within");
    this.#box.hidePopover?.();
    setAttribute(this.more, "aria-expanded", "false");
    for (const [type, listen] of Object.entries(outside)) removeEventListener(type, listen, true);
    if (had) this.react.focus({ preventScroll: true });
  }

  /** @param {EventTarget[]} path */
  has(path) {
    return path.includes(this.split);
  }

  /** @param {NonNullable<ReturnType<Picker["bar"]["offer"]>>} offer */
  #fill({ reactions, own, words }) {
    setAttribute(this.#box, "aria-label", words.say("choose"));
    this.#choices = reactions.map((reaction) => {
      const label = words.label(reaction);
      const tip = make("span", { class: "tip", "aria-hidden": "true" }, label);
      const pressed = String(reaction.name === own);
      const attributes = { "aria-label": label, "aria-pressed": pressed, tabindex: "-1" };
      const choice = button("choice", attributes, emoji(reaction.emoji), tip);
      choice.addEventListener("click", () => {
        this.close();
        this.bar.choose(reaction.name === own ? null : reaction.name);
      });
      return choice;
    });
    (this.#choices[reactions.findIndex(({ name }) => name === own)] ?? this.#choices[0]).tabIndex = 0;
    this.#box.replaceChildren(...this.#choices);
  }

  /** Above the bar, below it where there is no room, and inside the window. So are the names of the choices. */
  #place() {
    const { style, currentCSSZoom: zoom = 1 } = this.#box;
    // What is measured is on the screen, what is set is zoomed.
    const [wide, edge] = [document.documentElement.clientWidth / zoom, EDGE_PX / zoom];
    style.setProperty("--room", `${wide - 2 * edge}px`);
    const { offsetWidth, offsetHeight } = this.#box;
    const inside = (/** @type {number} */ at, /** @type {number} */ width) => {
      return Math.max(edge, Math.min(at, wide - width - edge));
    };
    const bar = this.split.getBoundingClientRect();
    const rtl = this.split.matches(":dir(rtl)");
    const left = inside(rtl ? bar.right / zoom - offsetWidth : bar.left / zoom, offsetWidth);
    const above = bar.top / zoom - offsetHeight;
    for (const choice of this.#choices) {
      const tip = /** @type {HTMLElement} */ (choice.lastChild);
      const at = left + choice.offsetLeft;
      const over = inside(at + (choice.offsetWidth - tip.offsetWidth) / 2, tip.offsetWidth);
      tip.style.translate = `${over - at}px -4px`; // which lays out nothing, so that the next one can be measured
    }
    style.left = `${left}px`;
    style.top = `${above < 4 * edge ? bar.bottom / zoom : above}px`;
    this.#at = this.#where();
  }

  #where() {
    const { x, y } = this.split.getBoundingClientRect();
    return `${x} ${y}`;
  }

  /** Something scrolled: the bar, or what is elsewhere on the page. */
  scrolled() {
    if (this.#where() !== this.#at) this.close();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    this.#longPressed = false; // a pen may leave without a click
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's: Alt+Left goes back
    const { key } = event;
    const forward = this.split.matches(":dir(rtl)") ? "ArrowLeft" : "ArrowRight";
    const arrow = key.startsWith("Arrow");
    const at = this.#choices.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    if (!arrow && (at < 0 || (key !== "Home" && key !== "End"))) return;
    event.preventDefault();
    if (at < 0) return this.open(true);
    const { length } = this.#choices;
    const step = key === forward || key === "ArrowDown" ? 1 : length - 1;
    const next = arrow ? (at + step) % length : key === "Home" ? 0 : length - 1;
    this.#choices.forEach((choice, index) => { choice.tabIndex = index === next ? 0 : -1; });
    this.#choices[next].focus();
  }

  /** @param {() => void} action @param {number} afterMs */
  #later(action, afterMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, afterMs);
  }
}

/** While a picker is open. @type {Record<string, (event: any) => void>} */
const outside = {
  keydown: (event) => {
    if (event.key !== "Escape") return;
    // It closes the picker, and not what is around it as well: the page's own window, or a dialog.
    event.stopPropagation();
    event.preventDefault();
    open?.close();
  },
  pointerdown: (event) => open?.has(event.composedPath()) || open?.close(),
  scroll: () => open?.scrolled(),
  resize: () => open?.close(),
};
