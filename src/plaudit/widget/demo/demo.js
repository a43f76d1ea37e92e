/** The demo page: one feed as two people see it, side by side, and a crowd that can be let loose on it. */

import { PlauditBar } from "../../widget/plaudit-bar.js";
import { byId, element } from "./dom.js";
import { feedOf } from "./feed.js";
import { Viral } from "./viral.js";

/**
 * @typedef {{id: string, name: string, avatar_url: string}} User
 * @typedef {{id: string, type: string, parent: string | null, author: string, text: string, closed: boolean,
 *   posted_at: string, picture: {file: string, alt: string} | null}} Target
 */

const CHOSEN = "plaudit-demo-people";
const RETRY_MS = 2_000;
const BELL = "../../widget/plaudit-bell.js"; // where this Plaudit has one

/** What this window remembers: two windows can be four people. @returns {string[]} */
function remembered() {
  try {
    return (sessionStorage.getItem(CHOSEN) ?? "").split(" ");
  } catch {
    return []; // storage is switched off
  }
}

/** @param {string[]} people */
function remember(people) {
  try {
    sessionStorage.setItem(CHOSEN, people.join(" "));
  } catch {
    // storage is switched off: the next visit starts with the first two
  }
}

/** By user: a bar that shares its token with another shares its requests too. @type {Map<string, () => Promise<string>>} */
const tokens = new Map();

/** What gets a token of this user, whenever one is needed. @param {string} user */
function tokenOf(user) {
  const get = tokens.get(user) ?? (async () => {
    const response = await fetch(new URL("../token", import.meta.url), {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ user }),
    });
    if (!response.ok) throw new Error(`no token: ${response.status}`);
    return (await response.json()).token;
  });
  tokens.set(user, get);
  return get;
}

/** @returns {Promise<{users: User[], targets: Target[], bell: boolean}>} */
async function content() {
  for (;;) {
    try {
      const response = await fetch(new URL("../content", import.meta.url));
      if (response.ok) return await response.json();
    } catch {
      // the server is away; it will be back
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** One half of the page: who looks, and what they see. */
class Side {
  /** @type {any} */
  #bell = null;

  /** @param {User[]} users @param {Target[]} targets @param {User} user @param {(side: Side) => void} chosen */
  constructor(users, targets, user, chosen) {
    this.user = user;
    this.users = users;
    this.face = element("img", { class: "avatar", src: user.avatar_url, alt: "", width: "44", height: "44" });
    this.select = element(
      "select", { "aria-label": "This side is" },
      ...users.map(({ id, name }) => element("option", { value: id }, name)),
    );
    this.select.addEventListener("change", () => {
      this.become(users.find(({ id }) => id === this.select.value) ?? user);
      chosen(this);
    });
    const { element: feed, bars } = feedOf(targets, users);
    this.bars = bars;
    this.head = element(
      "header", { class: "who" }, this.face, element("label", {}, element("span", {}, "You are"), this.select),
    );
    this.element = element("section", { class: "side" }, this.head, feed);
    this.become(user);
  }

  /** Rings when somebody reacts to what this user shared. */
  hang() {
    this.#bell = document.createElement("plaudit-bell");
    this.#bell.setAttribute("every", "5");
    this.#bell.token = tokenOf(this.user.id);
    this.#bell.addEventListener("plaudit-open", (/** @type {Event} */ opened) => opened.preventDefault());
    this.head.append(this.#bell);
  }

  /** @param {User} user */
  become(user) {
    this.user = user;
    this.select.value = user.id;
    this.face.src = user.avatar_url;
    this.element.setAttribute("aria-label", `The feed as ${user.name} sees it`);
    this.element.dataset.user = user.id;
    for (const bar of this.bars.values()) bar.token = tokenOf(user.id);
    if (this.#bell) this.#bell.token = tokenOf(user.id);
  }
}

async function start() {
  const { users, targets, bell } = await content();
  PlauditBar.configure({ pictures: [location.origin] });
  const kept = remembered();
  const author = users.find(({ id }) => id === targets[0].author) ?? users[0];
  const first = users.find(({ id }) => id === kept[0]) ?? author;
  const others = users.filter(({ id }) => id !== first.id);
  const second = others.find(({ id }) => id === kept[1]) ?? others.find(({ id }) => id === targets[1].author) ?? others[0];
  /** @type {Side[]} */
  const sides = [];
  const chosen = (/** @type {Side} */ changed) => {
    const other = sides.find((side) => side !== changed);
    if (other?.user.id === changed.user.id) other.become(users.find(({ id }) => id !== changed.user.id) ?? other.user);
    remember(sides.map(({ user }) => user.id));
    tabs.forEach((tab, at) => { tab.textContent = sides[at].user.name; });
  };
  for (const user of [first, second]) sides.push(new Side(users, targets, user, chosen));
  const people = byId("people");
  const tabs = sides.map((side, at) => {
    const tab = element("button", { type: "button", "aria-pressed": String(at === 0) }, side.user.name);
    tab.addEventListener("click", () => show(at));
    return tab;
  });
  /** Where there is room for one side only. @param {number} at */
  const show = (at) => {
    people.dataset.shown = String(at);
    tabs.forEach((tab, each) => tab.setAttribute("aria-pressed", String(each === at)));
  };
  show(0);
  byId("sides").append(...tabs);
  byId("sides").hidden = false;
  people.replaceChildren(...sides.map((side) => side.element));
  people.setAttribute("aria-busy", "false");
  if (bell) import(BELL).then(() => sides.forEach((side) => side.hang()), () => {});
  void new Viral(targets[0].id, sides.map(({ bars }) => bars.get(targets[0].id))).follow();
}

void start();
