/**
 * Changed counts of the targets that are near the viewport, as they change.
 *
 * One tab of all that show the same service to the same user, with tokens that grant the same, holds the connection (a
 * lock says which) and passes on what it hears; without locks or channels every tab has its own. Where the stream cannot
 * be had, counts are asked for now and then. A hidden tab wants nothing.
 *
 * Of targets one of which may not be seen the service tells nothing. So whoever wants them looks then which one it is.
 */

import { dropped, toldElsewhere } from "./settle.js";
import { changes } from "./sse.js";
import { counted, isCounts, waiting } from "./state.js";
import { backoff, newKey } from "./transport.js";

const GATHER_MS = 200;
const HIDDEN_MS = 5_000;
const POLL_MS = 5_000;
const LONGEST_POLL_MS = 60_000;
const RETRY_STREAM_MS = 60_000;
const SAY_AGAIN_MS = 20_000;
const FORGET_MS = 65_000;
const GOOD_MS = 10_000;
/** Of a page; over HTTP/1.1 a browser has six connections to a host, and taps need one. */
const STREAMS = 2;
const BATCH = 100;
const FEW = 50;
const FEW_MS = 3_000;
const CROWD_MS = 30_000;

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./session.js").Entry} Entry */
/**
 * @typedef {{kind: "counts", counts: unknown} | {kind: "own", id: string, told: unknown} | {kind: "wish", id: string} | {kind: "want", from: string, may: string, ids: string[]} | {kind: "refused", ids: string[]} | {kind: "who"}} Message
 */
/** @typedef {{ids: string[], stop: AbortController, refused: boolean}} Open */

/** Of all sessions of this page. @type {Set<Open | null>} */
const streaming = new Set();

export class Live {
  #tab = newKey();
  name = "";
  /** @type {BroadcastChannel | null} */
  #channel = null;
  /** What each tab wants, and when it said so. @type {Map<string, {ids: string[], atMs: number}>} */
  #wants = new Map();
  /** Whether this tab holds the connection. */
  #leads = false;
  /** Ends the lead, or the wait for it. @type {AbortController | null} */
  #lead = null;
  /** What could be seen when the lead, or the wait for it, began. */
  #may = "";
  /** The connection and what it is for. @type {Open | null} */
  #open = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #gather;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #hide;
  #hiddenAtMs = 0;
  /** What was refused to another tab while nobody saw this one. @type {Set<string>} */
  #doubted = new Set();
  /** When the names of a target were asked for, and the timers of those that will be. @type {Map<string, number>} */
  #askedMs = new Map();
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #fresheners = new Map();

  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    const { over: signal } = session;
    document.addEventListener("visibilitychange", () => this.#look(), { signal });
    addEventListener("pagehide", () => this.#sleep(), { signal });
    addEventListener("pageshow", ({ persisted }) => persisted && this.#wake(), { signal });
    const again = setInterval(() => {
      if (!session.entries.size) session.end(); // the last bar went away a while ago
      else if (!document.hidden) this.want();
    }, SAY_AGAIN_MS);
    signal.addEventListener("abort", () => this.#end([again, ...this.#fresheners.values()]));
    if (signal.aborted) this.#end([again]);
    else this.join();
  }

  /** Be one of the tabs of this user, now that it may be known who that is. */
  join() {
    const { transport: { root, user }, over } = this.session;
    // Users that cannot be told apart must not hear each other.
    const name = `plaudit ${root} ${user === null ? "" : user || this.#tab}`;
    if (over.aborted || name === this.name) return;
    this.#sleep();
    this.#channel?.close();
    this.name = name;
    if ("BroadcastChannel" in globalThis) {
      this.#channel = new BroadcastChannel(name);
      this.#channel.onmessage = ({ data }) => this.#hear(data);
    }
    if (!document.hidden) this.#wake();
  }

  /** Nothing is wanted any more. @param {ReturnType<typeof setTimeout>[]} timers */
  #end(timers) {
    this.#sleep();
    for (const timer of [this.#gather, this.#hide, ...timers]) clearTimeout(timer);
    this.#channel?.close();
    this.#channel = null;
  }

  /** What is near the viewport may have changed. A session that nobody watches gives everything away. */
  want() {
    this.#gather ??= setTimeout(() => {
      this.#gather = undefined;
      const watched = [...this.session.entries.values()].some(({ watchers }) => watchers.size);
      if (!watched || this.#may !== this.#sees()) this.#sleep();
      if (watched && !document.hidden) this.#wake();
      this.#announce(this.#lead ? this.#nearIds() : []);
    }, GATHER_MS);
  }

  /** To the other tabs. @param {Message} message */
  tell(message) {
    this.#channel?.postMessage(message);
  }

  /** @param {any} message */
  #hear(message) {
    const { kind, id, ids } = message ?? {};
    if (kind === "counts") this.#take(message.counts);
    else if (kind === "own" || kind === "wish") this.#hearOwn(id, message.told);
    else if (kind === "who") this.want();
    else if (!Array.isArray(ids)) return;
    else if (kind === "refused") this.#doubt(ids);
    else if (kind === "want" && message.may === this.#may) this.#note(message.from, ids);
  }

  /** Ask what may still be seen, once this is. @param {string[]} ids */
  #doubt(ids) {
    for (const id of ids) this.#doubted.add(id);
    if (document.hidden) return;
    this.session.refresh([...this.#doubted]);
    this.#doubted.clear();
  }

  /** Counts from the stream, a poll or another tab; unknown and broken ones are passed over. @param {unknown} counts */
  #take(counts) {
    for (const [id, seen] of Object.entries(counts ?? {})) {
      const entry = this.session.entries.get(id);
      if (!entry || !isCounts(seen)) continue;
      this.session.apply(entry, counted(entry.state, seen));
      this.#freshen(id, entry);
    }
  }

  /**
   * Names of the newest reactors matter where they are few; a crowd's are asked for now and then.
   * @param {string} id
   * @param {Entry} entry
   */
  #freshen(id, entry) {
    const { counts } = entry.state;
    if (this.session.readOnly || this.#fresheners.has(id)) return;
    if (!counts || counts.version <= entry.summaryAt || waiting(entry.state)) return;
    // Counts may come before the first names, which are on their way then.
    const askedMs = this.#askedMs.get(id) ?? (entry.told ? 0 : Date.now());
    const waitMs = askedMs + (counts.total > FEW ? CROWD_MS : FEW_MS) - Date.now();
    this.#fresheners.set(id, setTimeout(() => {
      this.#fresheners.delete(id);
      if (!entry.near.size || (entry.state.counts?.version ?? 0) <= entry.summaryAt) return;
      this.#askedMs.set(id, Date.now());
      this.session.refresh([id]);
    }, Math.max(0, waitMs)));
  }

  /** What the token reaches: who leads must see what those who wait for the lead want to see. */
  #sees() {
    const { user, grants } = this.session.transport;
    return JSON.stringify([user, grants]);
  }

  #nearIds() {
    return [...this.session.entries].filter(([, entry]) => entry.near.size && !entry.error).map(([id]) => id);
  }

  /**
   * The same user reacted in another tab, which sends it: this one shows the answer, and gives up a wish of its own.
   * @param {string} id
   * @param {any} told
   */
  #hearOwn(id, told) {
    const entry = this.session.entries.get(id);
    if (!entry) return;
    if (told && isCounts(told.counts)) this.session.apply(entry, toldElsewhere(entry.state, told));
    else if (!told && waiting(entry.state)) {
      this.session.outbox?.forget(id);
      this.session.apply(entry, dropped(entry.state));
    }
  }

  #look() {
    clearTimeout(this.#hide);
    this.#doubt([]);
    if (!document.hidden) this.#wake();
    else this.#hide = setTimeout(() => this.#sleep(), HIDDEN_MS);
  }

  #wake() {
    if (this.#lead) return;
    if (this.#hiddenAtMs && Date.now() - this.#hiddenAtMs > FORGET_MS) this.session.refresh(this.#nearIds());
    const lead = new AbortController();
    this.#lead = lead;
    this.#may = this.#sees();
    this.want();
    const hold = () => new Promise((resolve) => {
      lead.signal.addEventListener("abort", resolve);
      this.#leads = true;
      this.tell({ kind: "who" });
      this.want();
    });
    if (!this.#channel || !navigator.locks) void hold();
    else navigator.locks.request(`${this.name} ${this.#may}`, { signal: lead.signal }, hold).catch(() => {});
  }

  #sleep() {
    if (!this.#lead) return;
    this.#announce([]);
    this.#lead?.abort();
    this.#lead = null;
    this.#leads = false;
    this.#wants.clear();
    this.#connect();
    this.#hiddenAtMs = Date.now();
  }

  /** @param {string[]} ids */
  #announce(ids) {
    if (this.#leads) this.#note(this.#tab, ids);
    else this.tell({ kind: "want", from: this.#tab, may: this.#may, ids });
  }

  /** @param {string} tab @param {string[]} ids */
  #note(tab, ids) {
    if (!this.#leads) return;
    this.#wants.delete(tab);
    if (ids.length) this.#wants.set(tab, { ids, atMs: Date.now() });
    this.#connect();
  }

  /** A connection for all that is wanted; the one there is, if it will do. */
  #connect() {
    const now = Date.now();
    for (const [tab, { atMs }] of this.#wants) {
      // A tab that is gone says nothing any more; this one does not go by the clock, which jumps while a machine sleeps.
      if (tab !== this.#tab && now - atMs > FORGET_MS) this.#wants.delete(tab);
    }
    const newest = [...this.#wants.values()].reverse();
    const ids = [...new Set(newest.flatMap((want) => want.ids))].slice(0, BATCH);
    const open = this.#open;
    // A wider connection serves a narrower wish, unless most of it is for nothing, or it was refused.
    const wide = open !== null && ids.length > 0 && ids.every((id) => open.ids.includes(id));
    if (wide && open.ids.length - ids.length <= (open.refused ? 0 : ids.length + 10)) return;
    open?.stop.abort();
    streaming.delete(open);
    this.#open = ids.length ? { ids, stop: new AbortController(), refused: false } : null;
    if (this.#open) void this.#run(this.#open);
  }

  /** Listens until told to stop, and asks now and then while there is no stream. @param {Open} open */
  async #run(open) {
    const { ids, stop: { signal } } = open;
    for (let failures = 0; !signal.aborted; failures += 1) {
      const from = Date.now();
      let waitMs = 0;
      const how = { signal, open: this.session.readOnly };
      try {
        if (streaming.size < STREAMS) {
          streaming.add(open);
          for await (const counts of changes(this.session.transport, ids, how)) this.#pass(counts);
        } else waitMs = RETRY_STREAM_MS;
      } catch (/** @type {any} */ error) {
        waitMs = error.retry === false ? RETRY_STREAM_MS : error.waitMs ?? 0;
        this.#refused(open, error, how.open);
      } finally {
        streaming.delete(open);
      }
      if (Date.now() - from > GOOD_MS) failures = 0;
      await this.#ask(open, backoff(failures, waitMs, RETRY_STREAM_MS));
    }
  }

  /** Counts by ordinary calls for that long. @param {Open} open @param {number} forMs */
  async #ask(open, forMs) {
    const { ids, stop: { signal } } = open;
    const until = Date.now() + forMs;
    for (let failures = 0; !signal.aborted && Date.now() < until;) {
      await pause(Math.min(until - Date.now(), backoff(failures, POLL_MS, LONGEST_POLL_MS)), signal);
      if (signal.aborted || Date.now() >= until) return;
      const how = { query: { target_ids: ids.join(",") }, signal, open: this.session.readOnly };
      try {
        const { counts } = await this.session.transport.call("GET", "reactions/counts", how);
        this.#pass(counts);
        failures = 0;
      } catch (error) {
        failures += 1;
        this.#refused(open, error, how.open);
      }
    }
  }

  /**
   * Of a call that is refused for good nobody knows yet whether it is for the token or for which target: all who want
   * these ask for them, and then want what they may see.
   * @param {Open} open @param {any} error @param {boolean} without whether there was no token
   */
  #refused(open, { retry, status }, without) {
    if (retry !== false) return;
    const { ids, refused } = open;
    open.refused = true;
    if (status === 401 && !without) this.session.signedOut(ids);
    else this.session.refresh(ids);
    if (!refused) this.tell({ kind: "refused", ids });
    this.want();
  }

  /** @param {unknown} counts */
  #pass(counts) {
    this.#take(counts);
    this.tell({ kind: "counts", counts });
  }
}

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
