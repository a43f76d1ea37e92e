/**
 * All bars of a page that speak to one service for one user: asks for many targets at once, sends wishes one after the
 * other, and tells bars what changed. Knows nothing of how it looks. Another user is another session.
 */

import { UNKNOWN, fed, isCounts, shown, waiting, wished } from "./state.js";
import { Transport, backoff, parted } from "./transport.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./transport.js").PlauditError} PlauditError */
/** @typedef {{name: string, emoji: string, label: string, retired?: boolean}} Reaction */

/**
 * @typedef {object} Watcher one who shows a target
 * @property {() => void} changed
 * @property {(error: PlauditError) => void} refused the newest wish is gone
 * @property {(reaction: string | null) => void} saved
 * @property {() => void} late the newest wish is not saved yet
 * @property {() => void} moved the session is over, and there is another one
 */

const BATCH = 100;
const TARGET = /^(?!(?:counts|mine|feed|stream|\.{1,2})$)[\w.:@~|=-]{1,128}$/;
/** A frame: what the user did is shown before anything else is done about it. */
const SHOWN_MS = 20;
/** A pause that ends when the page is seen. */
const UNSEEN_MS = 1e9;

/** Whether the service takes such a target id. @param {string} id */
export const isTarget = (id) => TARGET.test(id);

/** What is known of one target. */
export class Entry {
  /** @type {State} */
  state = UNKNOWN;
  /** @type {import("./state.js").Summary | null} */
  summary = null;
  summaryAt = -1;
  closed = false;
  /** What the user gave last here. @type {string | null} */
  lastUsed = null;
  /** @type {string | undefined} */
  type;
  /** @type {string | undefined} */
  route;
  /** Whether the process that should have answered did not, or cannot now: any other may. */
  astray = false;
  /** Why the target cannot be shown. @type {PlauditError | null} */
  error = null;
  /** @type {Set<Watcher>} */
  watchers = new Set();
  /** Those near the viewport. @type {Set<Watcher>} */
  near = new Set();
  /** Whether the service has been asked. */
  asked = false;
  /** Whether it has answered: a stream may tell counts before anybody knows the own reaction. */
  told = false;
  sending = false;
  /** When the user had the newest wish. */
  wishedMs = 0;
  /** What may have been stored since the service told the own reaction. @type {Set<string | null>} */
  tried = new Set();
  /** Whether the newest wish is in the outbox. */
  kept = false;
}

/** @type {Set<Session>} */
const sessions = new Set();
/** By service. @type {Map<string, Promise<Reaction[]>>} */
const catalogues = new Map();
/** At hand, as nothing is loaded any more when a page goes away. @type {typeof import("./sender.js") | undefined} */
let sender;
const loadSender = async () => (sender ??= await import("./sender.js"));
loadSender().catch(() => {}); // while the first answers are on their way

/**
 * The session of this service and token; bars with equal ones share it.
 * @param {string | undefined} endpoint @param {import("./transport.js").Token} token
 */
export function sessionOf(endpoint, token) {
  const { root } = new Transport({ endpoint });
  return [...sessions].find((one) => one.token === token && one.transport.root === root) ?? new Session(root, token);
}

/** Who the user is may have changed, though the function that tells is the same. @param {unknown} token */
export function askAgain(token) {
  for (const session of sessions) if (session.token === token) session.again();
}

for (const type of ["online", "pagehide", "visibilitychange"]) {
  addEventListener(type, () => { for (const session of sessions) session.wake(type === "pagehide"); });
}

export class Session {
  /** @type {Map<string, Entry>} */
  entries = new Map();
  /** @type {Reaction[]} */
  catalogue = [];
  /** @type {Promise<void> | null} */
  #opened = null;
  /** Fulfilled once it is known whether to ask for a user. @type {Promise<void>} */
  #met = Promise.resolve();
  /** Targets to ask for in the next frame. @type {Set<string>} */
  #wanted = new Set();
  #failures = 0;
  /** What ends each pause, and whether the service asked for it. @type {Map<() => void, boolean>} */
  #pauses = new Map();
  /** @type {import("./live.js").Live | null} */
  live = null;
  /** @type {import("./outbox.js").Outbox | null} */
  outbox = null;
  #life = new AbortController();
  /** Aborted when the session is over: nobody watches, or there is another user. */
  over = this.#life.signal;

  /**
   * @param {string} root where the service is
   * @param {import("./transport.js").Token} token
   * @param {string | null} [known] what it has just answered
   */
  constructor(root, token, known) {
    this.token = token;
    this.transport = new Transport({ endpoint: root, token, known, moved: (other) => this.#moved(other) });
    this.readOnly = !token;
    sessions.add(this);
  }

  /** Who the user is, as far as the token says. */
  get me() {
    return (!this.readOnly && this.transport.user) || null;
  }

  /** Whether it is known that nobody is signed in. */
  get nobody() {
    return this.readOnly && !this.transport.user && this.transport.user !== undefined;
  }

  /** Ask anew who the user is. Until that is known bars are a display: what is tapped now may be another's wish. */
  again() {
    if (typeof this.token !== "function") return;
    this.transport.again();
    this.readOnly = true;
    this.#allChanged();
    void this.#meet(true);
  }

  /**
   * Until it is known who the user is, which is not asked again in a tab that nobody sees. Where that cannot be told of a
   * user yet, what is public is shown meanwhile.
   * @param {boolean} [anew] whether bars are a display until then
   */
  #meet(anew) {
    /** @type {() => void} */
    let met;
    this.#met = new Promise((resolve) => { met = resolve; });
    return this.#until(async (failures) => {
      while (failures && document.hidden && !this.over.aborted) await this.pause(UNSEEN_MS);
      this.readOnly = (await this.transport.token()) === null;
      this.#allChanged();
    }, () => {
      if (this.transport.user !== undefined) return;
      this.readOnly = anew = true;
      met();
    }).then(() => {
      met();
      if (anew) this.askNear(this.entries.keys());
    });
  }

  /**
   * Again until it succeeds, or the session is over.
   * @param {(failures: number) => Promise<void>} attempt @param {(failures: number) => void} [failed]
   */
  async #until(attempt, failed) {
    for (let failures = 0; ; failures += 1) {
      try {
        return await attempt(failures);
      } catch (/** @type {any} */ error) {
        failed?.(failures);
        if (this.over.aborted) return;
        await this.rest(failures, error.waitMs);
      }
    }
  }

  /** The token is another user's. @param {string | null} token */
  #moved(token) {
    const next = new Session(this.transport.root, this.token, token);
    this.end();
    for (const { watchers } of this.entries.values()) for (const watcher of [...watchers]) watcher.moved();
    if (!next.entries.size) next.end();
  }

  /** What waits is kept on the device for its user: by the outbox, which may still have to come. */
  end() {
    sessions.delete(this);
    this.outbox?.keep(this);
    this.#life.abort();
    this.wake(true);
  }

  /**
   * A bar shows this target from now on.
   * @param {string} id
   * @param {string | undefined} type
   * @param {Watcher} watcher
   */
  watch(id, type, watcher) {
    const entry = this.entry(id);
    entry.type = type ?? entry.type;
    entry.watchers.add(watcher);
    this.#opened ??= this.#open();
    return entry;
  }

  /** @param {string} id @param {Watcher} watcher */
  unwatch(id, watcher) {
    this.entries.get(id)?.watchers.delete(watcher);
    this.near(id, watcher, false);
    setTimeout(() => this.forget(id)); // a bar that is moved is back by then
  }

  /** Nothing is known any more of a target that nobody shows, unless a wish waits. @param {string} id */
  forget(id) {
    const entry = this.entries.get(id);
    if (entry && !entry.watchers.size && !waiting(entry.state)) this.entries.delete(id);
    if (!this.live && !this.entries.size) this.end(); // later the counts' connection sees to it
  }

  /** The bar came near the viewport, or left. @param {string} id @param {Watcher} watcher @param {boolean} isNear */
  near(id, watcher, isNear) {
    const entry = this.entries.get(id);
    if (!entry) return;
    entry.near[isNear ? "add" : "delete"](watcher);
    if (isNear && !entry.asked) this.#want(id);
    this.live?.want();
  }

  /** The user wishes for this reaction: shown at once. @param {string} id @param {string | null} reaction */
  wish(id, reaction) {
    const entry = this.entry(id);
    if (this.readOnly) return;
    entry.wishedMs = Date.now();
    entry.lastUsed = reaction ?? shown(entry.state).own ?? entry.lastUsed;
    this.apply(entry, wished(entry.state, reaction));
    if (entry.kept) this.outbox?.put(id, entry);
    void this.send(id, entry);
  }

  /** Ask anew. @param {string[]} ids */
  refresh(ids) {
    for (const id of ids) this.#want(id);
  }

  /** Ask for those near the viewport, and for others when they come there. @param {Iterable<string>} ids */
  askNear(ids) {
    for (const id of ids) {
      const entry = this.entries.get(id);
      if (entry?.near.size) this.#want(id);
      else if (entry) entry.asked = false;
    }
  }

  /** What is known of this target; nothing yet for a new one. @param {string} id */
  entry(id) {
    const entry = this.entries.get(id) ?? new Entry();
    this.entries.set(id, entry);
    return entry;
  }

  /** User and catalogue, and then what can wait until bars are there. */
  async #open() {
    const known = this.#meet();
    await this.#until(async () => { this.catalogue = await catalogueOf(this.transport); });
    this.#allChanged();
    await this.#met;
    await this.#until(async () => (await import("./later.js")).begin(this, known));
  }

  /** @param {string} id */
  #want(id) {
    const entry = this.entries.get(id);
    if (!entry) return;
    entry.asked = true;
    const load = () => {
      const ids = [...this.#wanted].filter((id) => this.entries.has(id));
      this.#wanted.clear();
      while (ids.length) void this.#load(ids.splice(0, BATCH));
    };
    if (!this.#wanted.size) (document.hidden ? setTimeout : requestAnimationFrame)(load);
    this.#wanted.add(id);
  }

  /** A feed where there is a user, counts where there is none. @param {string[]} ids @returns {Promise<void>} */
  async #load(ids) {
    await this.#met;
    if (this.over.aborted) return;
    const turns = ids.map((id) => this.entries.get(id)?.state.turn ?? 0);
    try {
      const { readOnly } = this;
      const { counts, targets } = readOnly
        ? await this.transport.call("GET", "reactions/counts", { query: { target_ids: ids.join(",") }, open: true })
        : await this.transport.call("POST", "reactions/feed", { body: { target_ids: ids } });
      ids.forEach((id, at) => this.#loaded(id, readOnly ? { counts: counts[id] } : targets[id], turns[at]));
      this.#failures = 0;
    } catch (/** @type {any} */ error) {
      if (error.retry !== false) {
        await this.rest((this.#failures += 1), error.waitMs);
        return this.askNear(ids);
      }
      if (error.status === 401 && !this.readOnly) return this.signedOut(ids);
      // One bad target must not take the others away.
      const [bad, ...parts] = parted(ids, error);
      for (const part of parts) if (part.length) void this.#load(part);
      for (const id of bad) {
        const entry = this.entries.get(id);
        if (!entry) continue;
        entry.error = error;
        this.#changed(entry);
      }
      this.live?.want();
    }
  }

  /** The token is refused for good: what is public stays. @param {string[]} ids */
  signedOut(ids) {
    this.readOnly = true;
    this.transport.user = ""; // any other token is another user's
    this.refresh(ids);
    this.#allChanged();
  }

  /** @param {string} id @param {any} item @param {number} turn */
  #loaded(id, item, turn) {
    const entry = this.entries.get(id);
    if (!entry || !isCounts(item?.counts)) return;
    entry.error = null;
    entry.told = true;
    entry.route = item.route ?? entry.route;
    entry.closed = item.closed ?? entry.closed;
    if (item.summary && item.counts.version >= entry.summaryAt) {
      entry.summary = item.summary;
      entry.summaryAt = item.counts.version;
    }
    if (item.reaction) entry.lastUsed = item.reaction;
    this.apply(entry, fed(entry.state, item, turn));
  }

  /** Sends until the service has the newest wish: one request at a time. @param {string} id @param {Entry} entry */
  async send(id, entry) {
    if (entry.sending) return;
    entry.sending = true;
    await this.pause(SHOWN_MS);
    await this.#until(
      async () => (await loadSender()).deliver(this, id, entry),
      (failures) => this.keep(id, entry, failures),
    );
  }

  /** Sending has to wait. @param {string} id @param {Entry} entry @param {number} failures how often before */
  keep(id, entry, failures) {
    if (!failures) for (const watcher of entry.watchers) watcher.late();
    entry.kept = true;
    this.outbox?.put(id, entry);
  }

  /** @param {Entry} entry @param {State} state */
  apply(entry, state) {
    if (state === entry.state) return;
    entry.state = state;
    this.#changed(entry);
  }

  #allChanged() {
    for (const entry of this.entries.values()) this.#changed(entry);
  }

  /** @param {Entry} entry */
  #changed(entry) {
    for (const watcher of entry.watchers) watcher.changed();
  }

  /** Before the next attempt. @param {number} failures @param {number} [waitMs] what the service asked for */
  rest(failures, waitMs = 0) {
    return this.pause(backoff(failures, waitMs), waitMs > 0);
  }

  /**
   * Until then, or until things may be better; what the service asked for ends early only with the page.
   * @param {number} ms @param {boolean} [told] whether it did @returns {Promise<void>}
   */
  pause(ms, told = false) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#pauses.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#pauses.set(done, told);
    });
  }

  /** Go on with what waits. @param {boolean} all what the service asked for, too */
  wake(all) {
    for (const [done, told] of this.#pauses) if (all || !told) done();
  }
}

/** Every reaction there is, asked for once. @param {Transport} transport @returns {Promise<Reaction[]>} */
function catalogueOf(transport) {
  const asked = catalogues.get(transport.root)
    ?? transport.call("GET", "catalogue", { open: true }).then(({ reactions }) => reactions.filter((/** @type {Reaction} */ { name, emoji }) => name && emoji));
  catalogues.set(transport.root, asked);
  asked.catch(() => catalogues.delete(transport.root));
  return asked;
}
