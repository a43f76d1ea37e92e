/**
 * Who reacted: a tab for each reaction, and a list that grows as one scrolls. Names come from users, so they are text.
 */

import { button, emoji, make, setAttribute } from "./dom.js";
import { FACES, face, ghost, originsOf } from "./faces.js";
import { UNKNOWN, shown } from "./state.js";
import { sheetOf } from "./styles.js";
import { isolated } from "./texts.js";

const PAGE = 30;
/** English, for languages that lack it. @type {Record<string, string>} */
const EN = {
  all: "All",
  close: "Close",
  more: "Show more",
  nobody: "Nobody has reacted yet.",
  unreachable: "The list cannot be loaded now.",
  again: "Try again",
};
/** Seconds of each unit, longest first. @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3_600], ["minute", 60]];

const SHEET = sheetOf(`${FACES}
.dialog{inline-size:min(430px,100vw - 24px);block-size:min(calc(74px + 56px*var(--rows)),560px,100dvh - 48px);
  padding:0;border-radius:20px;overflow:hidden;flex-direction:column;box-shadow:0 16px 64px #0004}
.dialog[open]{display:flex;animation:rise .16s ease-out}
.dialog::backdrop{background:#0b0e1499}
.head{display:flex;align-items:center;gap:4px;padding:8px 8px 0;border-block-end:1px solid var(--line)}
.tabs{display:flex;flex:1;min-inline-size:0;overflow-x:auto;scrollbar-width:none}
.tab{display:flex;flex:none;align-items:center;justify-content:center;gap:6px;padding:0 12px 4px;
  min-block-size:48px;font-variant-numeric:tabular-nums;color:color-mix(in srgb,currentColor 78%,transparent)}
.tab .emoji{color:var(--text)}
.tab[aria-selected=true]{color:var(--accent);font-weight:600}
.tab[aria-selected=true]::after{content:"";position:absolute;inset:auto 8px 0;block-size:3px;
  border-radius:3px 3px 0 0;background:currentColor}
.close{flex:none;display:grid;place-items:center;border-radius:50%}
.close svg{inline-size:20px;block-size:20px;fill:none;stroke:currentColor;stroke-width:2;stroke-linecap:round}
.list{flex:1;overflow-y:auto;overscroll-behavior:contain;padding:6px 8px}
.list ul{list-style:none;margin:0;padding:0}
.reactor{display:flex;align-items:center;gap:12px}
.reactor,.ghost{padding:7px 8px;min-block-size:56px}
.face{position:relative;flex:none}
.face .emoji{position:absolute;inset:auto -5px -4px auto;font-size:18px}
.face:dir(rtl) .emoji{inset:auto auto -4px -5px}
.name{flex:1;min-inline-size:0;overflow-wrap:anywhere;font-weight:500}
.when{flex:none;font-size:.87em;color:color-mix(in srgb,currentColor 74%,transparent)}
.word{margin:0;padding:32px 16px 12px;text-align:center}
.grow{display:block;margin:4px auto;padding:0 20px;color:var(--accent);font-weight:600}
@media(max-width:480px){.dialog{inline-size:100%;max-inline-size:none;margin:auto 0 0;border-radius:20px 20px 0 0;
  border-width:1px 0 0}}
@media(hover:hover){.tab:hover,.close:hover{background:color-mix(in srgb,currentColor 8%,transparent)}
  .tab:hover{border-radius:12px 12px 0 0}}
@media(forced-colors:active){.tab[aria-selected=true]::after{background:Highlight}}
`);

/** @typedef {import("./session.js").Session} Session */
/** @typedef {{user: import("./state.js").User, reaction: string, reacted_at: string}} Reactor */
/** @typedef {{session: Session, target: string, words: import("./texts.js").Words, pictures: string[]}} About */

/** Opens the list, once. @param {HTMLElement} bar gets the dialog @param {About} about */
export function openDialog(bar, about) {
  if (!bar.querySelector("dialog[open]")) new Dialog(bar, about).open();
}

class Dialog {
  /** Ends the requests of the tab before. */
  #stop = new AbortController();
  /** @type {HTMLButtonElement[]} */
  #tabs = [];
  #list = make("ul", { role: "list" });
  #end = make("div");
  #panel = make(
    "div", { class: "list", part: "list", id: "reactors", role: "tabpanel", tabindex: "0" }, this.#list, this.#end,
  );
  /** Presses "show more" when it comes near. */
  #growing = new IntersectionObserver(([{ isIntersecting, target }]) => {
    if (isIntersecting) /** @type {HTMLElement} */ (target).click();
  }, { root: this.#panel, rootMargin: "200px" });

  /** @param {HTMLElement} bar @param {About} about */
  constructor(bar, { session, target, words, pictures }) {
    this.bar = bar;
    this.session = session;
    this.target = target;
    this.words = words;
    this.origins = originsOf(session.transport.root, pictures);
    this.ago = new Intl.RelativeTimeFormat(words.lang, { numeric: "auto", style: "short" });
    this.box = make("dialog", { part: "dialog", class: "dialog", "aria-label": words.say("group") });
  }

  open() {
    const root = /** @type {ShadowRoot} */ (this.bar.getRootNode());
    if (!root.adoptedStyleSheets.includes(SHEET)) root.adoptedStyleSheets.push(SHEET);
    const close = button("close", { "aria-label": this.#say("close") }, cross());
    close.addEventListener("click", () => this.box.close());
    this.box.append(make("div", { class: "head" }, this.#makeTabs(), close), this.#panel);
    const { over } = this.session, end = () => this.box.close();
    over.addEventListener("abort", end); // there is another user
    this.box.addEventListener("close", () => {
      over.removeEventListener("abort", end);
      this.#stop.abort();
      this.#growing.disconnect();
      this.box.remove();
    });
    // A click beside the box; not a selection that ends there, nor the second half of the double click that opened it.
    let pressed = false;
    this.box.addEventListener("pointerdown", ({ target }) => { pressed = target === this.box; });
    this.box.addEventListener("click", ({ target, detail }) => {
      if (target === this.box && pressed && detail < 2) this.box.close();
    });
    // As high as the list will be, so that nothing jumps when it comes.
    this.box.style.setProperty("--rows", String(Math.max(4, this.#shown().total)));
    this.bar.append(this.box);
    this.box.showModal();
    this.#tabs[0].focus();
    this.#select(this.#tabs[0], "");
  }

  /** @param {string} key */
  #say(key) {
    return key in this.words.texts ? this.words.say(key) : EN[key];
  }

  #shown() {
    return shown(this.session.entries.get(this.target)?.state ?? UNKNOWN);
  }

  #makeTabs() {
    const { total, reactions } = this.#shown();
    const given = this.session.catalogue.filter(({ name }) => reactions[name] > 0)
      .sort((one, other) => reactions[other.name] - reactions[one.name]);
    const all = this.#makeTab("", make("span", {}, this.#say("all")), this.#say("all"), total);
    const others = given.map((one) => {
      return this.#makeTab(one.name, emoji(one.emoji), this.words.label(one), reactions[one.name]);
    });
    this.#tabs = [all, ...others];
    const tabs = make("div", { class: "tabs", role: "tablist", "aria-label": this.words.say("group") }, ...this.#tabs);
    tabs.addEventListener("keydown", (event) => this.#key(event));
    return tabs;
  }

  /** @param {string} reaction @param {Node} picture @param {string} label @param {number} count */
  #makeTab(reaction, picture, label, count) {
    const number = this.words.short(count);
    const attributes = { role: "tab", "aria-label": `${label} ${number}`, "aria-controls": "reactors" };
    const tab = button("tab", attributes, picture, " ", number);
    tab.addEventListener("click", () => this.#select(tab, reaction));
    return tab;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const forward = this.box.matches(":dir(rtl)") ? "ArrowLeft" : "ArrowRight";
    const back = forward === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
    const { length } = this.#tabs;
    const at = this.#tabs.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    const to = { [forward]: (at + 1) % length, [back]: (at + length - 1) % length, Home: 0, End: length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#tabs[to].focus();
    this.#tabs[to].click();
  }

  /** @param {HTMLButtonElement} selected @param {string} reaction "" for all */
  #select(selected, reaction) {
    for (const tab of this.#tabs) {
      setAttribute(tab, "aria-selected", String(tab === selected));
      tab.tabIndex = tab === selected ? 0 : -1;
    }
    setAttribute(this.#panel, "aria-label", selected.getAttribute("aria-label"));
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#panel.scrollTop = 0;
    this.#list.replaceChildren(...Array.from({ length: 6 }, ghost));
    void this.#grow(reaction, null, new Set(), this.#stop.signal);
  }

  /**
   * The next page.
   * @param {string} reaction
   * @param {string | null} cursor
   * @param {Set<string>} seen users that are in the list
   * @param {AbortSignal} signal
   */
  async #grow(reaction, cursor, seen, signal) {
    const query = { limit: String(PAGE), ...(reaction && { type: reaction }), ...(cursor && { cursor }) };
    const path = `reactions/${encodeURIComponent(this.target)}/reactors`;
    const focused = this.#end.matches(":focus-within");
    setAttribute(this.#panel, "aria-busy", "true");
    this.#growing.disconnect();
    let more;
    try {
      const page = await this.session.transport.call("GET", path, { query, signal, open: this.session.readOnly });
      if (signal.aborted) return;
      if (!cursor) this.#list.replaceChildren();
      /** @type {Reactor[]} */
      const fresh = page.reactors.filter((/** @type {Reactor} */ { user }) => !seen.has(user.id));
      for (const { user } of fresh) seen.add(user.id); // who reacted anew meanwhile would come twice
      const rows = fresh.map((reactor) => this.#row(reactor));
      this.#list.append(...rows);
      if (focused) this.#panel.focus({ preventScroll: true });
      if (!cursor && !rows.length) this.#end.replaceChildren(make("p", { class: "word" }, this.#say("nobody")));
      else this.#end.replaceChildren();
      if (page.next_cursor) more = this.#moreButton("more", () => this.#grow(reaction, page.next_cursor, seen, signal));
      if (more) this.#growing.observe(more);
    } catch {
      if (signal.aborted) return;
      if (!cursor) this.#list.replaceChildren();
      this.#end.replaceChildren(make("p", { class: "word", role: "alert" }, this.#say("unreachable")));
      this.#moreButton("again", () => this.#grow(reaction, cursor, seen, signal));
    }
    setAttribute(this.#panel, "aria-busy", null);
  }

  /** @param {string} key @param {() => void} action */
  #moreButton(key, action) {
    const made = button("grow", {}, this.#say(key));
    made.addEventListener("click", action, { once: true });
    this.#end.append(made);
    return made;
  }

  /** @param {Reactor} reactor */
  #row({ user, reaction, reacted_at: at }) {
    const name = String(user.name ?? user.id);
    const label = this.session.catalogue.find((one) => one.name === reaction);
    const meaning = label ? this.words.label(label) : reaction;
    const badge = make("span", { role: "img", class: "emoji", "aria-label": meaning }, label?.emoji ?? "");
    return make("li", { class: "reactor", part: "reactor" },
      make("span", { class: "face" }, face(user, this.origins), badge),
      make("span", { class: "name" }, isolated(name)),
      make("time", { class: "when", datetime: at }, this.#when(at)),
    );
  }

  /** @param {string} at RFC 3339 */
  #when(at) {
    const seconds = (Date.now() - Date.parse(at)) / 1000;
    const [unit, of] = UNITS.find(([, length]) => seconds >= length) ?? ["second", 1];
    return Number.isFinite(seconds) ? this.ago.format(of === 1 ? 0 : -Math.floor(seconds / of), unit) : "";
  }
}

function cross() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", "M6 6l12 12M18 6L6 18");
  svg.append(path);
  return svg;
}
