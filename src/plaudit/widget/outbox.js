/**
 * Wishes that the service has not answered, kept on this device until it does: of each target the newest. One row per
 * service, user and target in IndexedDB; where there is none (private windows), wishes live as long as the page.
 */

import { waiting, wished } from "./state.js";

const KEEP_MS = 7 * 24 * 3600 * 1000;
const STORE = "wishes";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {{key: string, reaction: string | null, type?: string}} Kept */
/** @typedef {Kept & {place: string, target: string, atMs: number}} Row */

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
    if (!session.me) return;
    try {
      const asked = indexedDB.open("plaudit", 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: ["place", "target"] });
      session.outbox = new Outbox(await done(asked), `${session.transport.root} ${session.me}`);
      await session.outbox.#resume(session);
    } catch { /* wishes live as long as the page */ }
  }

  /** @param {Session} session */
  async #resume(session) {
    const range = IDBKeyRange.bound([this.place], [this.place, []]);
    /** @type {Row[]} */
    const rows = await done(this.database.transaction(STORE).objectStore(STORE).getAll(range));
    for (const { target, key, reaction, type, atMs } of rows) {
      const entry = session.entry(target);
      if (waiting(entry.state)) continue; // there is a newer one
      this.#kept.add(target);
      entry.type ??= type;
      if (Date.now() - atMs > KEEP_MS) this.remove(target);
      else session.apply(entry, { ...wished(entry.state, reaction), sent: { key, reaction } });
      void session.send(target, entry);
    }
  }

  /** Another tab keeps this one now. @param {string} target */
  forget(target) {
    this.#kept.delete(target);
  }

  /** @param {string} target @param {Kept} kept */
  put(target, { key, reaction, type }) {
    this.#kept.add(target);
    this.#then((store) => store.put({ place: this.place, target, key, reaction, type, atMs: Date.now() }));
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
