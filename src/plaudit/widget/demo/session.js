// @ts-check
/** One user's side of the conversation with the service: sends wishes, asks for news, says what changed. */

import { Api, Refused, TryAgain } from "./api.js";
import { TargetState } from "./state.js";

const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 8_000;

/**
 * @typedef {object} Watcher
 * @property {(state: TargetState) => void} changed
 * @property {(text: string) => void} say
 * @property {(online: boolean) => void} link
 */

export class Session {
  /** Targets with a request under way. @type {Set<string>} */
  #sending = new Set();
  #asking = false;

  /**
   * @param {string} user
   * @param {string[]} targets
   * @param {Watcher} watcher
   */
  constructor(user, targets, watcher) {
    this.api = new Api(user);
    this.user = user;
    this.states = new Map(targets.map((id) => [id, new TargetState(id)]));
    this.watcher = watcher;
  }

  /** @param {string} id */
  state(id) {
    return /** @type {TargetState} */ (this.states.get(id));
  }

  /**
   * The user wishes for this reaction: shown at once, and sent when the request before it is through.
   * @param {string} id
   * @param {string | null} reaction
   */
  wish(id, reaction) {
    const state = this.state(id);
    state.want(reaction);
    this.watcher.changed(state);
    void this.#send(state);
  }

  /** All targets anew. Raises what the call raises. */
  async load() {
    await this.#feed([...this.states.keys()]);
  }

  /** What changed since: counts of all targets, then the newest reactors where they did. One at a time. */
  async refresh() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      const counts = await this.api.counts([...this.states.keys()]);
      for (const [id, seen] of Object.entries(counts)) {
        const state = this.state(id);
        state.see(seen);
        this.watcher.changed(state);
      }
      const old = [...this.states.values()].filter((state) => state.sampleIsOld).map((state) => state.id);
      if (old.length) await this.#feed(old);
      this.watcher.link(true);
    } catch {
      this.watcher.link(false); // the next round asks again
    } finally {
      this.#asking = false;
    }
  }

  /** @param {string[]} ids */
  async #feed(ids) {
    const asked = new Map(ids.map((id) => [id, this.state(id).changes]));
    for (const [id, item] of Object.entries(await this.api.feed(ids))) {
      const state = this.state(id);
      state.seeItem(item, asked.get(id) ?? -1);
      this.watcher.changed(state);
    }
  }

  /** Sends until the service has the newest wish. @param {TargetState} state */
  async #send(state) {
    if (this.#sending.has(state.id)) return;
    this.#sending.add(state.id);
    try {
      await this.#sendAll(state);
    } finally {
      this.#sending.delete(state.id);
      this.watcher.changed(state);
    }
  }

  /** @param {TargetState} state */
  async #sendAll(state) {
    let failures = 0;
    for (let request = state.next(); request; request = state.next()) {
      try {
        state.answered(await this.api.put(state.id, request.reaction, request.key));
        if (failures) this.watcher.say("Saved.");
        failures = 0;
      } catch (error) {
        if (error instanceof TryAgain) {
          if (error.stored === false) state.notStored();
          if (failures === 0) this.watcher.say("Not saved yet. Trying again.");
          await pause(Math.max(error.waitMs, backoff(failures)));
          failures += 1;
          continue;
        }
        if (!(error instanceof Refused)) throw error;
        if (state.refused()) this.watcher.say(error.message);
        this.watcher.changed(state);
        failures = 0;
        await this.#feed([state.id]).catch(() => {}); // our idea of the target was wrong; the next round asks again
      }
      this.watcher.changed(state);
    }
  }
}

/**
 * A pause that grows with the failures, of random length so that clients do not come back together.
 * @param {number} failures
 */
export function backoff(failures) {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures) * (0.5 + Math.random() / 2);
}

/** Waits that long, or until the browser is online again. @param {number} ms */
export function pause(ms) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve(undefined);
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
  });
}
