/**
 * `<plaudit-bar target="post:42">`: the reactions of a target, and what one gives oneself. docs/widget.md is its manual.
 *
 * What is imported here is all that it takes to show bars and to tap; picker, dialog, live counts, kept wishes and
 * languages come later, or when they are needed.
 */

import { button, emoji, languageOf, make, setAttribute, setText } from "./dom.js";
import { askAgain, isTarget, sessionOf } from "./session.js";
import { shown, waiting } from "./state.js";
import { barSheet, laterSheet } from "./styles.js";
import { wordsOf } from "./texts.js";

/** @typedef {import("./session.js").Reaction} Reaction */
/** @typedef {import("./transport.js").Token} Token */
/** @typedef {{endpoint?: string, token?: Token, pictures?: string[]}} Settings for bars that do not say otherwise */

const NEAR = "300px";
const NOTE_MS = 6_000;
const SAY_MS = 700;
const SAY_AGAIN_MS = 15_000;
const STACK = 3;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** @type {Settings} */
const settings = {};
/** Bars that are on the page. @type {Set<PlauditBar>} */
const bars = new Set();
/** Bars to draw in the next frame. @type {Set<PlauditBar>} */
const dirty = new Set();
/** @type {typeof import("./picker.js").Picker | undefined} */
let PickerClass;
const loadPicker = () => import("./picker.js").then(({ Picker }) => { PickerClass = Picker; }, () => {});
const loadDialog = () => import("./dialog.js").catch(() => null);

const viewport = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) /** @type {PlauditBar} */ (target).isNear = isIntersecting;
}, { rootMargin: NEAR });

export class PlauditBar extends HTMLElement {
  static observedAttributes = ["target", "type", "token", "endpoint", "label", "lang", "sign-in"];

  /** @type {Token | undefined} */
  #token;
  /** @type {import("./session.js").Session | null} */
  #session = null;
  /** @type {import("./session.js").Entry | null} */
  #entry = null;
  #target = "";
  /** @type {import("./texts.js").Words | null} */
  #words = null;
  #near = false;
  /** @type {import("./picker.js").Picker | null} */
  #picker = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noteTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #sayTimer;
  #saidMs = 0;
  #total = -1;
  #stack = "";

  #emoji = emoji("");
  #label = make("span", { class: "label" });
  #react = button("react", { "aria-pressed": "false" }, this.#emoji, this.#label);
  #more = button("more", { "aria-expanded": "false" });
  #split = make("span", { class: "split" }, this.#react, this.#more);
  #emojis = make("span", { class: "stack" });
  #number = make("span", { class: "total" });
  #sentence = make("span", { class: "sentence", part: "sentence" });
  #count = button("count", { "aria-haspopup": "dialog" }, this.#emojis, this.#number, " ", this.#sentence);
  #note = make("div", { class: "note", part: "note", hidden: "" });
  #status = make("span", { class: "status", role: "status" });
  #bar = make("div", { class: "bar", part: "bar", role: "group", hidden: "" }, this.#split, this.#count, this.#note, this.#status);

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [barSheet, laterSheet];
    root.append(this.#bar);
    this.#react.addEventListener("click", () => this.#tap());
    this.#more.addEventListener("click", (event) => void this.openPicker(event.detail === 0)); // 0: by the keyboard
    this.#count.addEventListener("click", () => void this.openDialog());
    for (const type of ["pointerover", "focusin"]) {
      this.#split.addEventListener(type, () => this.#makePicker());
      this.#count.addEventListener(type, loadDialog);
    }
  }

  /**
   * Settings of all bars that do not say otherwise. Call it before or after there are bars. With a token, the same
   * function too, it asks who the user is: after signing in and out.
   * @param {Settings} changed
   */
  static configure(changed) {
    Object.assign(settings, changed);
    if ("token" in changed) askAgain(changed.token);
    for (const bar of bars) bar.#attach();
  }

  /**
   * A token, a function that gets one, or null for nobody: it wins over the attribute; undefined for no say. The same
   * function again asks who the user is.
   * @param {Token | undefined} token
   */
  set token(token) {
    if (token === this.#token) askAgain(token);
    this.#token = token;
    this.#attach();
  }

  /** @returns {Token} */
  get token() {
    return this.#token !== undefined ? this.#token : this.getAttribute("token") ?? settings.token ?? null;
  }

  set target(id) {
    this.setAttribute("target", id);
  }

  get target() {
    return this.getAttribute("target") ?? "";
  }

  /** The user's reaction as the bar shows it, null for none. */
  get reaction() {
    return this.#entry ? shown(this.#entry.state).own : null;
  }

  /** The counts as the bar shows them, null while unknown. */
  get counts() {
    const { told, state } = this.#entry ?? {};
    if (!told || !state?.counts) return null;
    const { total, reactions } = shown(state);
    return { ...state.counts, total, reactions };
  }

  /** Whether the service has not confirmed the newest wish yet. */
  get pending() {
    return !!this.#entry && waiting(this.#entry.state);
  }

  connectedCallback() {
    const own = /** @type {any} */ ({ ...this }); // set before the element was defined
    for (const name of ["target", "token"]) {
      delete (/** @type {any} */ (this))[name];
      if (name in own) /** @type {any} */ (this)[name] = own[name];
    }
    bars.add(this);
    viewport.observe(this);
    this.#speak();
    this.#attach();
  }

  disconnectedCallback() {
    bars.delete(this);
    viewport.unobserve(this);
    this.#near = false;
    this.#attach();
  }

  /** @param {string} name */
  attributeChangedCallback(name) {
    if (!bars.has(this)) return;
    if (name === "lang") this.#speak();
    this.#attach();
    this.changed();
  }

  /** React as the user: a reaction's name, or null for none. Shown at once. @param {string | null} reaction */
  react(reaction) {
    const previous = this.reaction;
    if (!this.#session || this.#session.readOnly || previous === reaction) return;
    this.#session.wish(this.#target, reaction);
    this.draw(); // now, and not with the next frame's bars
    if (reaction) this.#pop();
    this.#note.hidden = true;
    this.#dispatch("plaudit-change", { reaction, previous, total: this.counts?.total });
    const given = this.#session.catalogue.find(({ name }) => name === reaction);
    this.#say((words) => {
      const what = given ? words.say("given", { label: words.label(given) }) : words.say("taken");
      return `${what} ${words.count("reactions", this.counts?.total ?? 0)}.`;
    });
  }

  /** Open the picker, or say why nothing may be given. @param {boolean} [focus] whether the keyboard goes there */
  async openPicker(focus = true) {
    if (this.#barred()) return;
    await (PickerClass ?? loadPicker());
    this.#makePicker();
    if (this.#picker) this.#picker.toggle(focus);
    else this.#show("failed");
  }

  /** Open the list of those who reacted. */
  async openDialog() {
    const dialog = await loadDialog();
    const session = this.#session, words = this.#words, { pictures = [] } = settings;
    if (!session || !words) return;
    if (dialog) dialog.openDialog(this.#bar, { session, target: this.#target, words, pictures });
    else this.#show("failed");
  }

  /** Ask the service for this target anew. */
  refresh() {
    this.#session?.refresh([this.#target]);
  }

  /** @param {boolean} near */
  set isNear(near) {
    this.#near = near;
    this.#session?.near(this.#target, this, near);
  }

  /** Something to draw with the next frame. */
  changed() {
    if (!dirty.size) (document.hidden ? setTimeout : requestAnimationFrame)(drawAll);
    dirty.add(this);
  }

  /** The service has it. @param {string | null} reaction */
  saved(reaction) {
    this.#dispatch("plaudit-saved", { reaction });
  }

  /** There is another user. */
  moved() {
    this.#attach();
  }

  /** The service has not got the newest wish yet. */
  late() {
    this.#say((words) => words.say("late"));
  }

  /** The service refused the newest wish. @param {import("./transport.js").PlauditError} error */
  refused(error) {
    this.#show(error.status === 401 ? "signedOut" : `${error.code}`); // "failed" for what has no text of its own
    this.#dispatch("plaudit-refused", { code: error.code, message: error.message });
  }

  /** Bind to the target and session that are asked for now. */
  #attach() {
    const { target } = this;
    const here = bars.has(this) && isTarget(target);
    const session = here ? sessionOf(this.getAttribute("endpoint") ?? settings.endpoint, this.token) : null;
    const type = this.getAttribute("type") ?? undefined;
    if (session === this.#session && target === this.#target) {
      if (this.#entry && type) this.#entry.type = type;
      return;
    }
    this.#picker?.close();
    this.#bar.querySelector("dialog")?.close();
    this.#note.hidden = true;
    const entry = session?.watch(target, type, this) ?? null; // first: a session without entries ends
    this.#session?.unwatch(this.#target, this);
    this.#session = session;
    this.#target = target;
    this.#total = -1;
    this.#entry = entry;
    session?.near(target, this, this.#near);
    this.changed();
  }

  #speak() {
    void wordsOf(languageOf(this)).then((words) => {
      this.#words = words;
      this.#stack = "";
      this.changed();
    });
  }

  #tap() {
    if (this.#picker?.tookClick() || !this.#entry) return;
    const { own } = shown(this.#entry.state);
    const offered = this.#offered()[0];
    if (own !== null && !this.#session?.readOnly) this.react(null);
    else if (!this.#barred() && offered) this.react(offered.name);
  }

  /** Whether nothing may be given now, which it says once it is known who looks. A page may ask for the user in its own way. */
  #barred() {
    const { readOnly, nobody } = this.#session ?? {};
    if (!readOnly && !this.#entry?.closed) return false;
    const why = readOnly ? "signedOut" : "target_closed";
    if (!readOnly || (nobody && this.#dispatch("plaudit-signin"))) this.#show(why);
    return true;
  }

  /** What may be given here: the last used one first, else in the catalogue's order. @returns {Reaction[]} */
  #offered() {
    const { catalogue = [] } = this.#session ?? {};
    const { state, lastUsed } = this.#entry ?? {};
    return catalogue.filter(({ name, retired }) => !retired && name in (state?.counts?.reactions ?? {}))
      .sort((one, other) => Number(other.name === lastUsed) - Number(one.name === lastUsed));
  }

  #makePicker() {
    if (!PickerClass || this.#picker) return;
    this.#picker = new PickerClass(this.#split, this.#react, this.#more, {
      offer: () => {
        const { catalogue = [], readOnly = true } = this.#session ?? {};
        const given = new Set(this.#offered());
        if (!this.#words || readOnly || this.#entry?.closed) return null;
        return { reactions: catalogue.filter((one) => given.has(one)), own: this.reaction, words: this.#words };
      },
      choose: (name) => this.react(name),
    });
  }

  /** Show what is known now. */
  draw() {
    dirty.delete(this);
    const session = this.#session, entry = this.#entry, words = this.#words;
    const ready = session?.catalogue.length && entry?.told && !entry.error && words;
    this.#bar.hidden = !ready;
    if (!ready) return;
    const { own, total, reactions } = shown(entry.state);
    const offered = this.#offered();
    const main = session.catalogue.find(({ name }) => name === own) ?? offered[0];
    const what = this.getAttribute("label");
    setAttribute(this.#bar, "aria-label", what ? words.say("groupOf", { what }) : words.say("group"));
    this.#bar.classList.toggle("waiting", waiting(entry.state));
    const { readOnly } = session;
    this.#split.hidden = !main || (readOnly && !(session.nobody && this.hasAttribute("sign-in")));
    this.#more.hidden = readOnly || offered.length < 2;
    if (main) {
      setText(this.#emoji, main.emoji);
      setText(this.#label, words.label(main));
      setAttribute(this.#react, "aria-label", words.label(main));
      setAttribute(this.#react, "aria-pressed", String(own !== null));
      setAttribute(this.#react, "aria-disabled", entry.closed && own === null ? "true" : null);
      setAttribute(this.#more, "aria-disabled", entry.closed ? "true" : null);
      setAttribute(this.#more, "aria-label", words.say("choose"));
    }
    this.#drawCounts(own, total, reactions, words);
  }

  /**
   * @param {string | null} own
   * @param {number} total
   * @param {Record<string, number>} reactions
   * @param {import("./texts.js").Words} words
   */
  #drawCounts(own, total, reactions, words) {
    const { catalogue = [], me = null } = this.#session ?? {};
    const top = catalogue.filter(({ name }) => reactions[name] > 0)
      .sort((one, other) => reactions[other.name] - reactions[one.name]).slice(0, STACK);
    const stack = top.map(({ emoji: text }) => text).join(" ");
    if (stack !== this.#stack) this.#emojis.replaceChildren(...top.map((one) => emoji(one.emoji)));
    this.#stack = stack;
    this.#count.hidden = total === 0;
    const sample = (this.#entry?.summary?.sample ?? []).filter(({ id }) => id !== me);
    const sentence = words.sentence(own !== null && me !== null, sample, total);
    setText(this.#number, words.short(total));
    setText(this.#sentence, sentence);
    // The name begins with what is seen, for those who speak it.
    setAttribute(this.#count, "aria-label", `${words.short(total)}${sentence && ` ${sentence}`}. ${words.say("who")}`);
    if (total === this.#total) return;
    if (this.#total >= 0) this.#dispatch("plaudit-update", { counts: this.counts });
    this.#total = total;
    // Others' reactions are told to whoever is at the bar, now and then.
    if (Date.now() - this.#saidMs < SAY_AGAIN_MS || !this.matches(":focus-within")) return;
    this.#say(() => words.count("reactions", total));
  }

  /** A small jump of the emoji, for those who like things to move. */
  #pop() {
    if (calm.matches) return;
    const jump = [{ scale: 1 }, { scale: 1.4, rotate: "-8deg" }, { scale: 1 }];
    this.#emoji.animate(jump, { duration: 280, easing: "ease-out" });
  }

  /** To a screen reader: of many, the last. @param {(words: import("./texts.js").Words) => string} text */
  #say(text) {
    clearTimeout(this.#sayTimer);
    setText(this.#status, ""); // the same text again is said again
    this.#saidMs = Date.now();
    this.#sayTimer = setTimeout(() => this.#words && setText(this.#status, text(this.#words)), SAY_MS);
  }

  /** Beside the buttons, for a while. @param {string} key of a text */
  #show(key) {
    const text = this.#words?.say(key) ?? "";
    setText(this.#note, text);
    this.#note.hidden = false;
    this.#say(() => text);
    clearTimeout(this.#noteTimer);
    this.#noteTimer = setTimeout(() => { this.#note.hidden = true; }, NOTE_MS);
  }

  /** Whether nobody prevented it. @param {string} name @param {object} [detail] */
  #dispatch(name, detail) {
    const about = { target: this.#target, ...detail };
    return this.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, cancelable: true, detail: about }));
  }
}

function drawAll() {
  for (const bar of dirty) bar.draw();
}

if (!customElements.get("plaudit-bar")) {
  customElements.define("plaudit-bar", PlauditBar);
  void loadPicker(); // while the first answers are on their way
}
