/**
 * All bars of a page that speak to one service for one user: asks for many targets at once, sends wishes one after the
 * other, and tells bars what changed. Knows nothing of how it looks.
 */

import { UNKNOWN, answered, failed, fed, isCounts, refused, sending, shown, waiting, wished } from "./state.js";
import { Transport, backoff, newKey } from "./transport.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./transport.js").PlauditError} PlauditError */
/** @typedef {{name: string, emoji: string, label: string, retired?: boolean}} Reaction */

/**
 * @typedef {object} Watcher one who shows a target
 * @property {() => void} changed
 * @property {(error: PlauditError) => void} refused the newest wish is gone
 * @property {(reaction: string | null) => void} saved
 * @property {() => void} late the newest wish is not saved yet
 */

const BATCH = 100;
/** Counts that any other ones are newer than. */
const NOTHING = { total: 0, reactions: {}, version: -1 };
const TARGET = /^(?!(?:counts|mine|feed|stream|\.{1,2})$)[\w.:@~|=-]{1,128}$/;
const GIVEN_UP_LOOK_MS = 12_000;
/** A frame: what the user did is shown before anything else is done about it. */
const SHOWN_MS = 20;

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
  /** Whether the newest wish is in the outbox. */
  kept = false;
}

/** By service and token. @type {Map<string, Map<import("./transport.js").Token, Session>>} */
const sessions = new Map();
/** By service. @type {Map<string, Promise<Reaction[]>>} */
const catalogues = new Map();

/**
 * The session of this service and token; bars with equal ones share it.
 * @param {string | undefined} endpoint @param {import("./transport.js").Token} token
 */
export function sessionOf(endpoint, token) {
  const transport = new Transport({ endpoint, token });
  const ofService = sessions.get(transport.root) ?? new Map();
  sessions.set(transport.root, ofService);
  if (!ofService.has(token)) ofService.set(token, new Session(transport));
  return /** @type {Session} */ (ofService.get(token));
}

export class Session {
  /** @type {Map<string, Entry>} */
  entries = new Map();
  /** @type {Reaction[]} */
  catalogue = [];
  /** @type {Promise<void> | null} */
  #opened = null;
  /** Targets to ask for in the next frame. @type {Set<string>} */
  #wanted = new Set();
  #planned = false;
  #failures = 0;
  /** Pauses that end early when the browser is online again. @type {Set<() => void>} */
  #pauses = new Set();
  /** @type {import("./live.js").Live | null} */
  #live = null;
  /** @type {import("./outbox.js").Outbox | null} */
  outbox = null;
  /** Who the user is, as far as the token says. @type {string | null} */
  me = null;

  /** @param {Transport} transport */
  constructor(transport) {
    this.transport = transport;
    this.readOnly = !transport.source;
    for (const type of ["online", "pagehide", "visibilitychange"]) addEventListener(type, () => this.#wake());
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
    const entry = this.entries.get(id);
    entry?.watchers.delete(watcher);
    this.near(id, watcher, false);
    if (entry && !entry.watchers.size && !waiting(entry.state)) this.entries.delete(id);
  }

  /** The bar came near the viewport, or left. @param {string} id @param {Watcher} watcher @param {boolean} isNear */
  near(id, watcher, isNear) {
    const entry = this.entries.get(id);
    if (!entry) return;
    entry.near[isNear ? "add" : "delete"](watcher);
    if (isNear && !entry.asked) this.#want(id);
    this.#live?.want();
  }

  /** The user wishes for this reaction: shown at once. @param {string} id @param {string | null} reaction */
  wish(id, reaction) {
    const entry = this.entry(id);
    if (this.readOnly) return;
    entry.lastUsed = reaction ?? shown(entry.state).own ?? entry.lastUsed;
    this.apply(entry, wished(entry.state, reaction));
    if (entry.kept) this.#keep(id, entry);
    void this.send(id, entry);
  }

  /** Ask anew. @param {string[]} ids */
  refresh(ids) {
    for (const id of ids) this.#want(id);
  }

  /** What is known of this target; nothing yet for a new one. @param {string} id */
  entry(id) {
    const entry = this.entries.get(id) ?? new Entry();
    this.entries.set(id, entry);
    return entry;
  }

  /** The catalogue, and then what can wait until bars are there. */
  async #open() {
    for (let failures = 0; !this.catalogue.length; failures += 1) {
      this.catalogue = await catalogueOf(this.transport).catch(() => []);
      if (!this.catalogue.length) await this.#pause(backoff(failures));
    }
    const token = await this.transport.token().catch(() => undefined);
    if (token === null) this.readOnly = true; // nobody is signed in
    this.me = subject(token);
    for (const entry of this.entries.values()) this.#changed(entry);
    await this.#openRest();
  }

  /** What can wait until bars are there. */
  async #openRest() {
    for (let failures = 0; !this.#live; failures += 1) {
      try {
        const { Live, Outbox } = await import("./later.js");
        this.#live = new Live(this);
        if (!this.readOnly) await Outbox.open(this);
      } catch {
        await this.#pause(backoff(failures));
      }
    }
  }

  /** @param {string} id */
  #want(id) {
    const entry = this.entries.get(id);
    if (!entry) return;
    entry.asked = true;
    this.#wanted.add(id);
    if (this.#planned) return;
    this.#planned = true;
    const load = () => {
      this.#planned = false;
      const ids = [...this.#wanted];
      this.#wanted.clear();
      for (let from = 0; from < ids.length; from += BATCH) void this.#load(ids.slice(from, from + BATCH));
    };
    if (document.hidden) setTimeout(load);
    else requestAnimationFrame(load);
  }

  /** A feed where there is a user, counts where there is none. @param {string[]} ids */
  async #load(ids) {
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
        await this.#pause(backoff((this.#failures += 1), error.waitMs ?? 0));
        for (const id of ids) {
          const entry = this.entries.get(id);
          if (entry?.near.size) this.#want(id);
          else if (entry) entry.asked = false;
        }
        return;
      }
      if (error.status === 401 && !this.readOnly) return this.signedOut(ids);
      if (ids.length > 1) { // one bad target must not take the others away
        const half = ids.length >> 1;
        void this.#load(ids.slice(0, half));
        void this.#load(ids.slice(half));
        return;
      }
      const entry = this.entries.get(ids[0]);
      if (entry) {
        entry.error = error;
        this.#changed(entry);
      }
    }
  }

  /** The token is refused for good: what is public stays. @param {string[]} ids */
  signedOut(ids) {
    this.readOnly = true;
    this.refresh(ids);
    for (const entry of this.entries.values()) this.#changed(entry);
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
    await this.#pause(SHOWN_MS);
    this.#live?.tell({ kind: "wish", id });
    for (let failures = 0; ;) {
      this.apply(entry, sending(entry.state, newKey()));
      const { sent, unsure } = entry.state;
      if (!sent) break;
      try {
        const answer = await this.#put(id, entry, sent);
        this.#answered(id, entry, sent, answer);
        if (unsure) setTimeout(() => this.#want(id), GIVEN_UP_LOOK_MS); // the one given up may still arrive
        failures = 0;
      } catch (/** @type {any} */ error) {
        if (!error.retry) {
          this.#refused(id, entry, sent, error);
          continue;
        }
        this.apply(entry, failed(entry.state, sent.key, error.stored === false));
        entry.astray = error.elsewhere;
        if (!failures) for (const watcher of entry.watchers) watcher.late();
        this.#keep(id, entry);
        await this.#pause(backoff(failures, error.waitMs));
        failures += 1;
      }
    }
    entry.sending = entry.kept = false;
    this.outbox?.remove(id);
    if (!entry.watchers.size) this.entries.delete(id);
  }

  /** @param {string} id @param {Entry} entry @param {import("./state.js").Sent} sent @returns {Promise<any>} */
  #put(id, { type, route = id, astray }, { key, reaction }) {
    return this.transport.call("PUT", "reactions", {
      body: { target_id: id, reaction_type: reaction, ...(type && { target_type: type }) },
      headers: { "idempotency-key": key, ...(!astray && { "plaudit-route": route }) },
      keepalive: true, // a tap just before the page goes away counts too
    });
  }

  /** @param {string} id @param {Entry} entry @param {import("./state.js").Sent} sent @param {any} answer */
  #answered(id, entry, sent, answer) {
    if (!isCounts(answer?.counts)) answer = { reaction: sent.reaction, counts: NOTHING };
    entry.route = answer.route ?? entry.route;
    entry.astray = false;
    entry.told = true;
    this.apply(entry, answered(entry.state, sent.key, answer));
    this.#live?.tell({ kind: "own", id, told: { reaction: answer.reaction, counts: answer.counts } });
    for (const watcher of entry.watchers) watcher.saved(answer.reaction);
  }

  /** @param {string} id @param {Entry} entry @param {import("./state.js").Sent} sent @param {PlauditError} error */
  #refused(id, entry, sent, error) {
    const rolledBack = entry.state.wish === sent.reaction;
    this.apply(entry, refused(entry.state, sent.key));
    if (error.code === "target_closed") entry.closed = true;
    if (rolledBack) for (const watcher of entry.watchers) watcher.refused(error);
    if (error.status === 401) this.signedOut([id]);
    else this.#want(id); // our idea of the target was wrong
  }

  /** On this device, until the service has it. @param {string} id @param {Entry} entry */
  #keep(id, entry) {
    const { wish, sent } = entry.state;
    if (wish === undefined) return;
    entry.kept = true;
    this.outbox?.put(id, { key: sent?.reaction === wish ? sent.key : newKey(), reaction: wish, type: entry.type });
  }

  /** @param {Entry} entry @param {State} state */
  apply(entry, state) {
    if (state === entry.state) return;
    entry.state = state;
    this.#changed(entry);
  }

  /** @param {Entry} entry */
  #changed(entry) {
    for (const watcher of entry.watchers) watcher.changed();
  }

  /** @param {number} ms @returns {Promise<void>} */
  #pause(ms) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#pauses.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#pauses.add(done);
    });
  }

  #wake() {
    for (const done of this.#pauses) done();
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

/**
 * Whose token it is, null if it does not say. Unproven: for the word "you", and to keep users apart on this device.
 * @param {string | null | undefined} token
 * @returns {string | null}
 */
function subject(token) {
  try {
    const claims = /** @type {string} */ (token?.split(".")[1]).replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(claims)).sub ?? null;
  } catch {
    return null;
  }
}
