/**
 * Wishes that the service has not answered, kept on this device until it does: of each target the newest. One row per
 * service, user and target in IndexedDB; where there is none (private windows), wishes live as long as the page.
 *
 * What a page of before has left is older than what the user may have done since on another device. The service tells
 * the own reaction, and not since when: if it is neither the one of then nor one that was sent from here, the user has
 * changed their mind, and the wish is dropped.
 */

import { KEEP_MS } from "./settle.js";
import { waiting, wished } from "./state.js";
import { newKey, parted } from "./transport.js";

const STORE = "wishes";
const BATCH = 100;

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./session.js").Entry} Entry */
/**
 * @typedef {{place: string, target: string, key: string, reaction: string | null, type?: string, atMs: number,
 *   from?: (string | null)[]}} Row `from`: what the service may have had until then
 */

/** @typedef {{row: Row, turn: number}} Old a wish of a page of before */

export class Outbox {
  /** What this page has put in: most taps need no look into the store. @type {Set<string>} */
  #kept = new Set();
  /** @type {Promise<unknown>} */
  #last = Promise.resolve();

  /** @param {IDBDatabase} database @param {string} place service and user */
  constructor(database, place) {
    this.database = database;
    this.place = place;
  }

  /**
   * The outbox of a session, after its wishes from before are on their way; none where nothing can be kept.
   * @param {Session} session
   */
  static async open(session) {
    const { user } = session.transport; // a session is one user's, though it is perhaps asked again who is there
    if (!user) return;
    try {
      const asked = indexedDB.open("plaudit", 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: ["place", "target"] });
      session.outbox = new Outbox(await done(asked), `${session.transport.root} ${user}`);
      session.outbox.keep(session); // what waited for it
      await session.outbox.#resume(session);
    } catch { /* wishes live as long as the page */ }
  }

  /** @param {Session} session */
  async #resume(session) {
    const range = IDBKeyRange.bound([this.place], [this.place, []]);
    /** @type {Row[]} */
    const all = await done(this.database.transaction(STORE).objectStore(STORE).getAll(range));
    const rows = all.map((row) => {
      this.#kept.add(row.target);
      const entry = session.entry(row.target);
      entry.type ??= row.type;
      return { row, turn: entry.state.turn };
    });
    for (let at = 0; at < rows.length; at += BATCH) void this.#compare(session, rows.slice(at, at + BATCH));
  }

  /**
   * Asks what the service has now, until it tells that of each; what it refuses to tell of goes uncompared.
   * @param {Session} session @param {Old[]} some
   */
  async #compare(session, some) {
    for (let failures = 0; some.length; failures += 1) {
      let waitMs = 0;
      try {
        const body = { target_ids: some.map(({ row }) => row.target) };
        const { targets } = await session.transport.call("POST", "reactions/feed", { body });
        if (session.over.aborted) return;
        /** @param {Old} one */
        const own = ({ row }) => targets[row.target]?.reaction; // left out while the service is degraded
        for (const one of some) if (own(one) !== undefined) this.#settle(session, one, own(one));
        some = some.filter((one) => own(one) === undefined);
        if (!some.length) return;
      } catch (/** @type {any} */ error) {
        if (session.over.aborted) return;
        if (error.status === 401) return some.forEach(({ row }) => session.forget(row.target));
        if (error.retry === false) { // one bad target must not take the comparison from the others
          const [bad, ...parts] = parted(some.map(({ row }) => row.target), error);
          /** @param {string[]} ids */
          const among = (ids) => some.filter(({ row }) => ids.includes(row.target));
          for (const one of among(bad)) this.#settle(session, one, undefined);
          for (const part of parts) void this.#compare(session, among(part));
          return;
        }
        waitMs = error.waitMs;
      }
      await session.rest(failures, waitMs);
    }
  }

  /**
   * Sends what is still the user's mind, and drops the rest.
   * @param {Session} session @param {Old} old @param {string | null | undefined} own what the service has, if it tells
   */
  #settle(session, { row, turn }, own) {
    const entry = session.entry(row.target);
    if (waiting(entry.state)) return; // there is a newer one
    const stale = Date.now() - row.atMs > KEEP_MS || entry.state.turn !== turn || own === row.reaction
      || (own !== undefined && row.from && !row.from.includes(own));
    if (stale) {
      this.remove(row.target);
      return session.forget(row.target);
    }
    entry.wishedMs = row.atMs;
    session.apply(entry, { ...wished(entry.state, row.reaction), sent: { key: row.key, reaction: row.reaction, lost: true } });
    void session.send(row.target, entry);
  }

  /** All that waits. @param {Session} session */
  keep(session) {
    for (const [id, entry] of session.entries) this.put(id, entry);
  }

  /** Another tab keeps this one now. @param {string} target */
  forget(target) {
    this.#kept.delete(target);
  }

  /** The newest wish, if there is one that waits. @param {string} target @param {Entry} entry */
  put(target, { type, wishedMs: atMs, tried, state: { own, wish: reaction, sent } }) {
    if (reaction === undefined) return;
    this.#kept.add(target);
    const key = sent?.reaction === reaction ? sent.key : newKey();
    const from = own === undefined ? undefined : [own, ...tried];
    this.#then((store) => store.put({ place: this.place, target, key, reaction, type, atMs, from }));
  }

  /** @param {string} target */
  remove(target) {
    if (this.#kept.delete(target)) this.#then((store) => store.delete([this.place, target]));
  }

  /** One after the other, so that the last word stays. @param {(store: IDBObjectStore) => IDBRequest} action */
  #then(action) {
    const go = () => done(action(this.database.transaction(STORE, "readwrite").objectStore(STORE)));
    this.#last = this.#last.then(go).catch(() => {});
  }
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
