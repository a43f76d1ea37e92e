/**
 * `<plaudit-bell>`: what the user was told, and how much of it is unread. No framework, no build step.
 *
 *   <script type="module" src="/widget/plaudit-bell.js"></script>
 *   <plaudit-bell link="/posts/{target}"></plaudit-bell>
 *   document.querySelector("plaudit-bell").token = async ({renew}) => …;
 *
 * Attributes: `token`, `endpoint` (where the service is, by default where the module came from), `link` (where a message
 * leads, `{target}` filled in), `lang`, `every` (seconds between two looks, 20), `pictures` (origins, one space between
 * two, that pictures of users may come from; the page's and the service's always may). Property `token`: a text, or a function that
 * gets one; the same one again asks who the user is. Events, both bubbling: `plaudit-unread` (`detail.unread`) and
 * `plaudit-open` (`detail.notification`), which may be prevented. It asks only while the page is seen, and then for no more
 * than "has anything changed" (ETag).
 */

import { Lines, emojiOf } from "./bell-list.js";
import { bellIcon, bellSheet, wordsOf } from "./bell-look.js";
import { languageOf, make, setText } from "./dom.js";
import { originsOf } from "./faces.js";
import { Transport, userOf } from "./transport.js";

/** @typedef {import("./bell-list.js").Notification} Notification */
/** @typedef {import("./transport.js").Token} Token */

const EVERY_S = 20;
const SLOWEST_S = 300;
const WITHIN_MS = 10_000;
const PAGE = 20;
const INBOX = "me/notifications";
const EDGE_PX = 12;
const GAP_PX = 6;
/** Room that will do below the bell. */
const ENOUGH_PX = 480;

/** Whether both are surely one user's. @param {Token | undefined} one @param {Token | undefined} other */
function sameUser(one, other) {
  return typeof one === "string" && typeof other === "string" && !!userOf(one) && userOf(one) === userOf(other);
}

export class PlauditBell extends HTMLElement {
  static observedAttributes = ["token", "endpoint", "lang"];

  /** @type {Token | undefined} */
  #token;
  #etag = "";
  #unread = 0;
  /** Whether nobody knows now whose the messages may be. */
  #veiled = false;
  /** @type {Notification[]} */
  #messages = [];
  /** @type {string | null} */
  #cursor = null;
  #loaded = false;
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {AbortController | null} */
  #life = null;
  /** What was unread when the panel opened, and stays marked until it closes. @type {Set<string>} */
  #fresh = new Set();
  /** Whether older ones than the first page are there. */
  #older = false;
  /** What follows the first page. @type {string | null} */
  #second = null;
  /** Who is asked for older ones now. @type {Transport | null} */
  #asking = null;
  /** Of each reaction, which messages only name. @type {Map<string, string> | null} */
  #emoji = null;
  /** Whether older ones could not be had. */
  #stuck = false;
  #transport = this.#bound();

  #badge = make("span", { class: "badge", part: "badge", "aria-hidden": "true", hidden: "" });
  #button = make("button", { class: "bell", part: "bell", type: "button", "aria-expanded": "false", "aria-haspopup": "dialog" }, bellIcon(), this.#badge);
  #title = make("h2", { id: "title" });
  #close = make("button", { type: "button" }, "✕");
  #lines = new Lines((message, event) => this.#go(message, event));
  #more = make("button", { class: "older", type: "button", hidden: "" });
  #note = make("p", { class: "note", hidden: "" });
  #again = make("button", { class: "older", type: "button", hidden: "" });
  #panel = make("div", { class: "panel", part: "panel", role: "dialog", "aria-labelledby": "title", tabindex: "-1", popover: "manual" },
    make("div", { class: "head" }, this.#title, this.#close), this.#lines.list, this.#note, this.#more, this.#again);
  #say = make("span", { class: "say", role: "status" });

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [bellSheet];
    root.append(this.#button, this.#panel, this.#say);
    this.#button.addEventListener("click", () => (this.open ? this.close() : this.show()));
    this.#close.addEventListener("click", () => this.close());
    this.#more.addEventListener("click", () => void this.#loadOlder());
    this.#again.addEventListener("click", () => {
      this.#panel.focus(); // the button goes
      void this.#look();
    });
    root.addEventListener("keydown", (event) => {
      if (/** @type {KeyboardEvent} */ (event).key === "Escape" && this.open) {
        event.stopPropagation();
        event.preventDefault(); // nor does a dialog around it close
        this.close();
      }
    });
  }

  /** A token, a function that gets one, or null for nobody; undefined leaves it to the attribute. @param {Token | undefined} token */
  set token(token) {
    const before = this.token;
    this.#token = token;
    this.#changed(before);
  }

  /** @returns {Token} */
  get token() {
    return this.#token !== undefined ? this.#token : this.getAttribute("token");
  }

  /** How many messages are unread, 100 for that or more. */
  get unread() {
    return this.#veiled ? 0 : this.#unread;
  }

  /** Whether the inbox is shown. */
  get open() {
    return this.#panel.matches(":popover-open");
  }

  connectedCallback() {
    if (Object.hasOwn(this, "token")) { // set before the element was defined
      const { token } = this;
      delete (/** @type {any} */ (this)).token;
      this.#token = token;
    }
    this.#transport = this.#bound();
    this.#life = new AbortController();
    const { signal } = this.#life;
    document.addEventListener("visibilitychange", () => this.#start(), { signal });
    addEventListener("online", () => this.#start(), { signal });
    for (const type of ["scroll", "resize"]) {
      addEventListener(type, () => this.open && this.#place(), { signal, capture: true, passive: true });
    }
    document.addEventListener("pointerdown", (event) => {
      if (this.open && !event.composedPath().includes(this)) this.close(false);
    }, { signal });
    this.#speak();
    this.#start();
  }

  disconnectedCallback() {
    this.#button.setAttribute("aria-expanded", "false"); // what is not on the page is not open
    this.#life?.abort();
    this.#life = null;
    clearTimeout(this.#timer);
  }

  /** @param {string} name @param {string | null} before */
  attributeChangedCallback(name, before) {
    if (!this.#life) return;
    if (name === "lang") this.#speak();
    else if (name === "token") this.#changed(this.#token !== undefined ? this.#token : before);
    else {
      this.#forget();
      this.#emoji = null;
      this.#transport = this.#bound();
      this.#start();
    }
  }

  /** Show the inbox, and mark as read what is seen. */
  show() {
    this.#fresh = new Set(this.#messages.filter((message) => !message.read).map((message) => message.id));
    if (!this.open) this.#panel.showPopover();
    this.#button.setAttribute("aria-expanded", "true");
    this.#draw();
    this.#place();
    this.#panel.focus();
    void this.#look();
  }

  /** Below the bell, or above it where there is little room and more, and inside the window. */
  #place() {
    const { style, offsetWidth, currentCSSZoom: zoom = 1 } = this.#panel;
    const { clientWidth, clientHeight } = document.documentElement;
    const bell = this.#button.getBoundingClientRect();
    const below = clientHeight - bell.bottom;
    const up = below < ENOUGH_PX && bell.top > below;
    const start = this.matches(":dir(rtl)") ? bell.left : bell.right - offsetWidth * zoom;
    const left = Math.max(EDGE_PX, Math.min(start, clientWidth - offsetWidth * zoom - EDGE_PX));
    const [top, bottom] = up ? ["auto", clientHeight - bell.top + GAP_PX] : [bell.bottom + GAP_PX, "auto"];
    const set = (/** @type {number | string} */ at) => (typeof at === "number" ? `${at / zoom}px` : at);
    style.inset = [top, "auto", bottom, left].map(set).join(" ");
    style.maxBlockSize = set((up ? bell.top : below) - GAP_PX - EDGE_PX);
  }

  /** Hide the inbox. @param {boolean} [back] whether the focus goes back to the bell */
  close(back = true) {
    if (!this.open) return;
    this.#panel.hidePopover();
    this.#button.setAttribute("aria-expanded", "false");
    this.#fresh.clear();
    this.#older = this.#stuck = false;
    this.#messages = this.#messages.slice(0, PAGE);
    this.#cursor = this.#second;
    if (back) this.#button.focus();
  }

  get #locale() {
    return languageOf(this);
  }

  get #words() {
    return wordsOf(this.#locale);
  }

  /** Begin anew: another user, another page, or seen again. */
  #start() {
    clearTimeout(this.#timer);
    if (!this.#life) return;
    if (!this.token) this.#forget();
    else if (document.visibilityState === "visible") void this.#look();
  }

  /** There is a token in place of another: unless both are surely one user's, nothing of before is there any more. Or
   * the same function again: nothing is shown until it is known whose it is. @param {Token | undefined} before */
  #changed(before) {
    if (typeof before === "function" && this.token === before) {
      this.#transport.again();
      this.#veil(true);
    } else {
      if (!sameUser(this.token, before)) this.#forget();
      this.#transport = this.#bound();
    }
    this.#start();
  }

  /** Hide what is known, which is perhaps another's, or show it again. @param {boolean} veiled */
  #veil(veiled) {
    this.#panel.classList.toggle("veiled", veiled);
    this.#veiled = veiled;
    this.#count(this.#unread);
  }

  /** For one user: what was asked for by another one of these is not taken any more. @param {string | null} [known] */
  #bound(known) {
    return new Transport({
      endpoint: this.getAttribute("endpoint") ?? undefined,
      token: this.token,
      timeoutMs: WITHIN_MS,
      known,
      fetch: (url, how) => fetch(url, { ...how, cache: "no-store" }),
      moved: (token) => {
        this.#forget();
        this.#transport = this.#bound(token);
        this.#start();
      },
    });
  }

  #forget() {
    this.close(false);
    [this.#etag, this.#messages, this.#cursor, this.#second, this.#loaded, this.#failures] = ["", [], null, null, false, 0];
    this.#lines.forget();
    this.#say.textContent = "";
    this.#count(0);
    this.#veil(false);
  }

  #plan() {
    clearTimeout(this.#timer);
    if (!this.#life || document.visibilityState !== "visible") return;
    const every = Math.max(2, Number(this.getAttribute("every")) || EVERY_S);
    const wait = Math.min(SLOWEST_S, every * 2 ** Math.min(this.#failures, 6));
    this.#timer = setTimeout(() => void this.#look(), wait * 1000 * (0.9 + Math.random() / 5));
  }

  /** Ask whether anything has changed. */
  async #look() {
    clearTimeout(this.#timer);
    const asked = this.#transport;
    try {
      const token = await asked.token();
      if (this.#transport !== asked) return;
      this.#veil(false);
      if (token === null) { // nobody is signed in
        this.#loaded = true;
        if (this.open) this.#draw();
        return;
      }
      if (this.open && !this.#emoji) void this.#learn(asked.root);
      const headers = this.#etag ? { "if-none-match": this.#etag } : undefined;
      const signal = AbortSignal.timeout(WITHIN_MS);
      const response = await asked.request("GET", INBOX, { query: { limit: `${PAGE}` }, headers, signal })
        .catch((error) => (error.status === 304 ? null : Promise.reject(error)));
      const page = await response?.json();
      if (this.#transport !== asked) return; // somebody else's by now
      this.#failures = 0;
      this.#loaded = true;
      if (page) this.#take(page, response?.headers.get("etag") ?? "");
      if (this.open) {
        this.#draw();
        await this.#mark();
      }
    } catch {
      if (this.#transport !== asked) return;
      this.#failures += 1;
      if (this.open) this.#draw();
    }
    this.#plan();
  }

  /** @param {string} root where the service is */
  async #learn(root) {
    const emoji = await emojiOf(root).catch(() => null);
    if (!emoji || root !== this.#transport.root) return;
    this.#emoji = emoji;
    if (this.open) this.#draw();
  }

  /** @param {{notifications: Notification[], unread: number, next_cursor: string | null}} page @param {string} etag */
  #take(page, etag) {
    this.#etag = etag;
    if (this.open) for (const message of page.notifications) if (!message.read) this.#fresh.add(message.id);
    const known = new Set(page.notifications.map((message) => message.id));
    const rest = this.#older ? this.#messages.filter((message) => !known.has(message.id)) : [];
    this.#messages = [...page.notifications, ...rest];
    this.#second = page.next_cursor;
    if (!this.#older) this.#cursor = page.next_cursor;
    if (page.unread > this.#unread && !this.open) this.#say.textContent = this.#words.unread(this.#number(page.unread));
    this.#count(page.unread);
  }

  async #mark() {
    const newest = this.#messages[0];
    if (!newest || !this.#unread) return;
    const asked = this.#transport;
    const { unread } = await asked.call("POST", `${INBOX}/read`, { body: { up_to: newest.id } });
    if (this.#transport !== asked) return;
    this.#etag = "";
    for (const message of this.#messages) message.read = true; // it stays marked as new until the panel closes
    this.#count(unread);
  }

  async #loadOlder() {
    const [asked, first] = [this.#transport, this.#messages.length];
    if (!this.#cursor || this.#asking === asked) return;
    this.#asking = asked;
    try {
      const page = await asked.call("GET", INBOX, { query: { limit: `${PAGE}`, cursor: this.#cursor } });
      if (this.#transport !== asked || !this.open) return;
      this.#older = true;
      this.#stuck = false;
      this.#cursor = page.next_cursor;
      this.#messages.push(...page.notifications);
      this.#draw();
      this.#lines.focus(first);
    } catch {
      if (this.#transport !== asked || !this.open) return;
      this.#stuck = true;
      this.#say.textContent = this.#words.failed;
      this.#draw();
    } finally {
      if (this.#asking === asked) this.#asking = null;
    }
  }

  /** @param {number} unread */
  #count(unread) {
    const changed = unread !== this.#unread;
    this.#unread = unread;
    const text = this.unread ? this.#number(unread) : "";
    this.#badge.hidden = !text;
    this.#badge.textContent = text;
    const { title, unread: said } = this.#words;
    this.#button.setAttribute("aria-label", text ? `${title}, ${said(text)}` : title);
    if (changed) this.dispatchEvent(new CustomEvent("plaudit-unread", { detail: { unread }, bubbles: true, composed: true }));
  }

  /** @param {number} n */
  #number(n) {
    return n >= 100 ? "99+" : new Intl.NumberFormat(this.#locale).format(n);
  }

  #speak() {
    const { title, more, again, close, lang } = this.#words;
    this.#title.textContent = title;
    this.#more.textContent = more;
    this.#again.textContent = again;
    this.#close.setAttribute("aria-label", close);
    this.#panel.lang = lang;
    this.#count(this.#unread);
    if (this.open) this.#draw();
  }

  #draw() {
    const words = this.#words;
    this.#lines.draw(this.#messages, {
      fresh: this.#fresh,
      mark: words.fresh,
      locale: this.#locale,
      link: this.getAttribute("link"),
      origins: originsOf(this.#transport.root, this.getAttribute("pictures")?.match(/\S+/g) ?? []),
      emoji: (name) => this.#emoji?.get(name) ?? "",
    });
    const empty = !this.#messages.length;
    const failed = this.#failures > 0 && empty;
    if (empty && !this.#loaded && !failed) this.#lines.wait();
    this.#lines.list.hidden = empty && (this.#loaded || failed);
    const text = failed || this.#stuck ? words.failed : empty && this.#loaded ? words.none : "";
    setText(this.#note, text);
    this.#note.hidden = !text;
    this.#again.hidden = !failed;
    this.#more.hidden = !this.#cursor || failed;
  }

  /** A message is chosen. @param {Notification} message @param {Event} event */
  #go(message, event) {
    const detail = { notification: message };
    const told = new CustomEvent("plaudit-open", { detail, bubbles: true, composed: true, cancelable: true });
    if (!this.dispatchEvent(told)) event.preventDefault();
    this.close(false);
  }
}

if (!customElements.get("plaudit-bell")) customElements.define("plaudit-bell", PlauditBell);
