// @ts-check
/** The demo page: puts content, cards, the chosen user and the service together. */

import { content, Refused } from "./api.js";
import { Card } from "./cards.js";
import { avatar, byId, element, setText } from "./dom.js";
import { PeopleDialog } from "./people.js";
import { backoff, pause, Session } from "./session.js";

const REFRESH_MS = 2_000;
const TICK_MS = 60_000;
const TOAST_MS = 8_000;
const CHOSEN = "plaudit-demo-user";

const feed = byId("feed");
const toast = byId("toast");
/** One session for each user who was chosen: switching away leaves no wish behind. @type {Map<string, Session>} */
const sessions = new Map();
/** @type {Map<string, Card>} */
const cards = new Map();
/** The session on show. @type {Session | null} */
let current = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let toastTimer;

/** Says it where eyes and screen readers find it. @param {string} text */
function say(text) {
  clearTimeout(toastTimer);
  toast.textContent = text;
  toastTimer = setTimeout(() => (toast.textContent = ""), TOAST_MS);
}

/** @param {boolean} online */
function link(online) {
  byId("link").dataset.state = online ? "up" : "down";
  setText(byId("link-text"), online ? "Live" : "Reconnecting");
}

/** @param {Session} session */
function watcher(session) {
  return {
    /** @param {import("./state.js").TargetState} state */
    changed: (state) => {
      if (session === current) cards.get(state.id)?.show(state, session.user);
    },
    say: (/** @type {string} */ text) => {
      if (session === current) say(text);
    },
    link,
  };
}

/** Tries until it works; `Refused` is final. @template T @param {() => Promise<T>} action @returns {Promise<T>} */
async function insist(action) {
  for (let failures = 0; ; failures += 1) {
    try {
      const result = await action();
      link(true);
      return result;
    } catch (error) {
      if (error instanceof Refused) {
        say(error.message);
        throw error;
      }
      link(false);
      await pause(backoff(failures));
    }
  }
}

/** Shows the feed as this user sees it. Until then nobody can react as somebody they did not mean. */
async function become(/** @type {string} */ user) {
  current = null;
  feed.inert = true;
  feed.setAttribute("aria-busy", "true");
  let session = sessions.get(user);
  if (!session) {
    session = new Session(user, [...cards.keys()], { changed() {}, say() {}, link });
    session.watcher = watcher(session);
    sessions.set(user, session);
  }
  const chosen = session;
  wanted = chosen;
  await insist(() => chosen.load());
  if (wanted !== chosen) return; // somebody else was chosen meanwhile
  current = chosen;
  for (const state of chosen.states.values()) cards.get(state.id)?.show(state, user);
  feed.inert = false;
  feed.setAttribute("aria-busy", "false");
}

/** The session that was chosen last. @type {Session | null} */
let wanted = null;

/** @param {import("./api.js").User[]} users */
function showUsers(users) {
  const kept = remembered();
  const first = users.find((user) => user.id === kept) ?? users[0];
  byId("users").replaceChildren(
    ...users.map((user) => {
      const input = element("input", { type: "radio", name: "user", value: user.id });
      input.checked = user === first;
      input.addEventListener("change", () => {
        remember(user.id);
        void become(user.id);
      });
      const [given, ...family] = user.name.split(" ");
      const name = element("span", { class: "name" }, given, element("span", { class: "sr" }, ` ${family.join(" ")}`));
      return element("label", { class: "user" }, input, avatar(user), name);
    }),
  );
  return first.id;
}

/** The choice is per window, so that two windows can be two people. */
function remembered() {
  try {
    return sessionStorage.getItem(CHOSEN);
  } catch {
    return null; // storage is switched off
  }
}

/** @param {string} user */
function remember(user) {
  try {
    sessionStorage.setItem(CHOSEN, user);
  } catch {
    // storage is switched off: the next visit starts as the first user
  }
}

/**
 * @param {import("./cards.js").Target[]} targets
 * @param {import("./api.js").User[]} users
 * @param {import("./bar.js").Reaction[]} reactions
 */
function showCards(targets, users, reactions) {
  const people = new PeopleDialog(reactions);
  const actions = {
    wish: (/** @type {string} */ id, /** @type {string | null} */ reaction) => current?.wish(id, reaction),
    who: (/** @type {string} */ id, /** @type {string} */ subject) => {
      if (current) people.open(current.api, id, subject, current.state(id).shown);
    },
  };
  for (const target of targets) {
    const author = users.find((user) => user.id === target.author) ?? users[0];
    const card = new Card(target, author, reactions, actions);
    cards.set(target.id, card);
    (target.parent ? cards.get(target.parent)?.comments : feed)?.append(card.element);
  }
}

async function start() {
  const { users, reactions, targets } = await insist(content);
  const first = showUsers(users);
  showCards(targets, users, reactions);
  await become(first);
  const refresh = () => {
    if (document.visibilityState === "visible") void current?.refresh();
  };
  setInterval(refresh, REFRESH_MS);
  document.addEventListener("visibilitychange", refresh);
  setInterval(() => cards.forEach((card) => card.tick()), TICK_MS);
}

void start();
