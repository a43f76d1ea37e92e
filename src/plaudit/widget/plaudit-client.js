/**
 * Plaudit's calls from JavaScript, in browsers and under Node (20 or newer), without the component.
 *
 *     const plaudit = new PlauditClient({ endpoint: "https://example.com/plaudit/", token: () => mint() });
 *     await plaudit.set("post:42", "love");
 *     for await (const { user, reaction } of plaudit.reactors("post:42")) console.log(user.name, reaction);
 *
 * What may work later is asked again, with growing pauses and as `Retry-After` says; a tap always with its key, so that
 * it counts once. A tap says by its route which process it goes to best, and is asked again without where that one is not
 * there. A token callback is asked anew, once, when its token is refused. Every call raises `PlauditError`; that of a tap
 * has its `key`, and the same call with it settles what `stored` does not say. What cannot be asked for is a `TypeError`.
 */

import { changes } from "./sse.js";
import { PlauditError, Transport, backoff, newKey } from "./transport.js";

export { PlauditError };

const BATCH = 100;
const PAGE = 100;
const ROUTES = 10_000;
/** Refusals that say of a key that nothing of it is stored: it was looked for before, or whatever was stored is gone. */
const SETTLES = new Set([
  "target_closed", "reaction_not_allowed", "target_type_mismatch", "idempotency_key_reused", "target_deleted", "user_erased",
]);
/** What may stand in a header. */
const ID = /^[\w.:@~|=-]+$/;

/** @typedef {import("./state.js").Counts} Counts */
/** @typedef {import("./state.js").User} User */
/** @typedef {import("./state.js").FeedItem} FeedItem */
/** @typedef {import("./session.js").Reaction} Reaction */
/**
 * @typedef {{target_id: string, reaction: string | null, previous: string | null, outcome: string, counts: Counts, route: string}} Answer
 */
/** @typedef {{user: User, reaction: string, reacted_at: string}} Reactor */
/** @typedef {{target_id: string, reaction: string, reacted_at: string}} Reacted */
/**
 * @typedef {{type?: string, key?: string, route?: string, user?: string}} TapOptions `user`: for whom the host app acts
 */
/** @typedef {{user?: string}} Reader `user`: for whom the host app reads */
/** @typedef {{job_id: string, kind: string, subject: string, state: string, removed: Record<string, number>, note: string}} Job */
/** @typedef {import("./transport.js").Extra} Extra */
/** @typedef {import("./transport.js").Options & {attempts?: number, pauseMs?: number}} ClientOptions */

export class PlauditClient {
  /**
   * The route of a user's taps on a target, as answers said it last: a load balancer sends them to one process. Of those
   * who tapped or read a feed last, by "user target"; no user for the token's own.
   * @type {Map<string, string>}
   */
  #routes = new Map();

  /**
   * @param {ClientOptions} [options] `attempts`: of one call, in all; `pauseMs`: the longest before another, but for
   *   `Retry-After`; `timeoutMs`: for each attempt, and for the token callback
   */
  constructor({ attempts = 4, pauseMs = 5_000, timeoutMs = 10_000, token, ...options } = {}) {
    this.transport = new Transport({ ...options, timeoutMs, token: limited(token, timeoutMs) });
    if (!this.transport.root.startsWith("http")) throw new TypeError("endpoint: say where the service is");
    this.attempts = attempts;
    this.pauseMs = pauseMs;
  }

  /**
   * Wish for a reaction, or null for none.
   * @param {string} target
   * @param {string | null} reaction
   * @param {TapOptions} [options]
   * @returns {Promise<Answer>}
   */
  set(target, reaction, options = {}) {
    return this.#tap("PUT", target, { ...options, body: this.#body(target, reaction, options.type) });
  }

  /**
   * Give, switch, or take back what is there.
   * @param {string} target
   * @param {string} reaction
   * @param {TapOptions} [options]
   * @returns {Promise<Answer>}
   */
  toggle(target, reaction, options = {}) {
    return this.#tap("POST", target, { ...options, body: this.#body(target, reaction, options.type) });
  }

  /** Take back. @param {string} target @param {TapOptions} [options] @returns {Promise<Answer>} */
  remove(target, options = {}) {
    return this.#tap("DELETE", target, { ...options, query: { target_id: target } });
  }

  /** Counts by target; any number of targets. @param {string[]} targets @returns {Promise<Record<string, Counts>>} */
  async counts(targets) {
    const ask = (/** @type {string[]} */ ids) => this.#call("GET", "reactions/counts", { query: { target_ids: ids.join(",") } });
    const parts = await batches(whole(targets), ask);
    return merged(parts.map(({ counts }) => counts));
  }

  /**
   * Counts, own reaction and newest reactors by target.
   * @param {string[]} targets
   * @param {Reader} [options]
   * @returns {Promise<Record<string, FeedItem>>}
   */
  async feed(targets, { user } = {}) {
    const ask = (/** @type {string[]} */ ids) => this.#call("POST", "reactions/feed", { body: { target_ids: ids }, headers: by(user) });
    const parts = await batches(targets, ask);
    /** @type {Record<string, FeedItem>} */
    const items = merged(parts.map((part) => part.targets));
    for (const [target, { route }] of Object.entries(items)) if (route) this.#learn(place(user, target), route);
    return items;
  }

  /**
   * The own reactions by target, null for none.
   * @param {string[]} targets
   * @param {Reader} [options]
   * @returns {Promise<Record<string, string | null>>}
   */
  async mine(targets, { user } = {}) {
    const ask = (/** @type {string[]} */ ids) => this.#call("POST", "reactions/mine", { body: { target_ids: ids }, headers: by(user) });
    const parts = await batches(targets, ask);
    return merged(parts.map(({ reactions }) => reactions));
  }

  /**
   * Who reacted, newest first.
   * @param {string} target
   * @param {{reaction?: string, pageSize?: number}} [wanted]
   * @returns {AsyncGenerator<Reactor, void>}
   */
  async* reactors(target, { reaction, pageSize = PAGE } = {}) {
    const path = `reactions/${encodeURIComponent(target)}/reactors`;
    yield* this.#pages(path, "reactors", { ...(reaction && { type: reaction }), limit: String(pageSize) });
  }

  /**
   * What the user reacted to, newest first.
   * @param {Reader & {pageSize?: number}} [wanted]
   * @returns {AsyncGenerator<Reacted, void>}
   */
  async* reacted({ pageSize = PAGE, user } = {}) {
    yield* this.#pages("me/reactions", "reactions", { limit: String(pageSize) }, by(user));
  }

  /**
   * Every reaction, and what may be given to which type.
   * @returns {Promise<{reactions: Reaction[], types: Record<string, {access: string, reactions: string[]}>}>}
   */
  catalogue() {
    return this.#call("GET", "catalogue");
  }

  /**
   * Counts as they change, at first of all of these targets (at most 100). Connects again when the connection breaks,
   * until `signal` or the end of the loop. @param {string[]} targets @param {{signal?: AbortSignal}} [how]
   * @returns {AsyncGenerator<Record<string, Counts>, void>}
   */
  async* stream(targets, { signal } = {}) {
    const stop = new AbortController();
    signal?.addEventListener("abort", () => stop.abort());
    try {
      for (let failures = 0; !signal?.aborted; failures += 1) {
        let waitMs = 0;
        try {
          for await (const counts of changes(this.transport, whole(targets), { signal: stop.signal })) {
            failures = 0;
            yield /** @type {Record<string, Counts>} */ (counts);
          }
        } catch (/** @type {any} */ error) {
          if (signal?.aborted) return;
          if (!error.retry) throw error;
          waitMs = error.waitMs;
        }
        await pause(backoff(failures, waitMs, this.pauseMs), signal);
      }
    } finally {
      stop.abort();
    }
  }

  /**
   * Host app: tell Plaudit of a target.
   * @param {string} target
   * @param {{owner?: string | null, type?: string, title?: string | null, closed?: boolean, allowed?: string[] | null}} [about]
   * @returns {Promise<any>}
   */
  registerTarget(target, { owner, type, title, closed, allowed } = {}) {
    const body = { owner_id: owner, target_type: type, title, closed, allowed };
    return this.#call("PUT", `targets/${encodeURIComponent(target)}`, { body });
  }

  /**
   * Host app: how a target is registered.
   * @param {string} target
   * @returns {Promise<any>}
   */
  registration(target) {
    return this.#call("GET", `targets/${encodeURIComponent(target)}`);
  }

  /** Host app: delete a target and its reactions. @param {string} target @returns {Promise<Job>} */
  deleteTarget(target) {
    return this.#call("DELETE", `targets/${encodeURIComponent(target)}`);
  }

  /**
   * Host app: tell Plaudit how a user is shown.
   * @param {string} user
   * @param {{name: string, avatarUrl?: string | null, locale?: string | null, timeZone?: string | null}} about
   * @returns {Promise<any>}
   */
  describeUser(user, { name, avatarUrl = null, locale = null, timeZone = null }) {
    const body = { name, avatar_url: avatarUrl, locale, time_zone: timeZone };
    return this.#call("PUT", `users/${encodeURIComponent(user)}`, { body });
  }

  /** Host app: erase a user for good. @param {string} user @returns {Promise<Job>} */
  eraseUser(user) {
    return this.#call("DELETE", `users/${encodeURIComponent(user)}`);
  }

  /** Host app: how a deletion or erasure goes. @param {string} jobId @returns {Promise<Job>} */
  job(jobId) {
    return this.#call("GET", `jobs/${encodeURIComponent(jobId)}`);
  }

  /** @param {string} target @param {string | null} reaction @param {string | undefined} type */
  #body(target, reaction, type) {
    return { target_id: target, reaction_type: reaction, ...(type && { target_type: type }) };
  }

  /** @param {string} method @param {string} target @param {TapOptions & Extra} options @returns {Promise<Answer>} */
  async #tap(method, target, { key, route, user, body, query }) {
    route ??= this.#routes.get(place(user, target)) ?? (ID.test(target) ? target : undefined);
    const headers = { "idempotency-key": key || newKey(), ...(route && { "plaudit-route": route }), ...by(user) };
    const answer = await this.#call(method, "reactions", { body, query, headers }, Boolean(key));
    if (answer.route) this.#learn(place(user, target), answer.route);
    return answer;
  }

  /** @param {string} where @param {string} route */
  #learn(where, route) {
    this.#routes.delete(where); // to the end of the line
    this.#routes.set(where, route);
    for (const oldest of this.#routes.keys()) {
      if (this.#routes.size <= ROUTES) break;
      this.#routes.delete(oldest);
    }
  }

  /**
   * @param {string} path
   * @param {string} list
   * @param {Record<string, string>} query
   * @param {Record<string, string>} [headers]
   * @returns {AsyncGenerator<any, void>}
   */
  async* #pages(path, list, query, headers) {
    for (let cursor = ""; ;) {
      const page = await this.#call("GET", path, { query: { ...query, ...(cursor && { cursor }) }, headers });
      yield* page[list];
      cursor = page.next_cursor;
      if (!cursor) return;
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {Extra} [extra]
   * @param {boolean} [again] whether an earlier call may have had the same key
   * @returns {Promise<any>}
   */
  async #call(method, path, extra, again = false) {
    /** @type {false | undefined} */
    let stored = false; // undefined from the first try here on of which nobody knows what became
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.transport.call(method, path, extra);
      } catch (/** @type {any} */ error) {
        if (error.stored === undefined) stored = undefined;
        // What came with a 200 and cannot be read is somebody else's answer, and will be again.
        if (!error.retry || error.status === 200 || failures + 1 >= this.attempts) {
          // One of its own: calls that get no token together are told by the same.
          const own = new PlauditError(error.message, { ...error, cause: error.cause });
          if (again && !SETTLES.has(error.code)) stored = undefined;
          throw Object.assign(own, { stored, key: extra?.headers?.["idempotency-key"] });
        }
        if (error.elsewhere) delete extra?.headers?.["plaudit-route"];
        await pause(backoff(failures, error.waitMs, this.pauseMs));
      }
    }
  }
}

/**
 * A token callback that fails when it has not answered in time. @param {import("./transport.js").Token} [token]
 * @param {number} [ms]
 * @returns {import("./transport.js").Token | undefined}
 */
function limited(token, ms) {
  if (typeof token !== "function") return token;
  return async (why) => {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("The token callback does not answer.")), ms);
    });
    try {
      return await Promise.race([token(why), /** @type {Promise<never>} */ (late)]);
    } finally {
      clearTimeout(timer);
    }
  };
}

/** The header that says for whom the host app acts. @param {string | undefined} user @returns {Record<string, string>} */
function by(user) {
  return user ? { "plaudit-user": user } : {};
}

/** What a route is remembered by. @param {string | undefined} user @param {string} target */
function place(user, target) {
  return `${user ?? ""} ${target}`;
}

/** The ids, none of which becomes two in a query. @param {string[]} targets @returns {string[]} */
function whole(targets) {
  const torn = targets.find((id) => String(id).includes(","));
  if (torn) throw new TypeError(`targets: an id has no comma: ${torn}`);
  return targets;
}

/**
 * One object of all. Nothing is assigned to it, for `__proto__` is an id like any other.
 * @param {Record<string, any>[]} parts
 * @returns {Record<string, any>}
 */
function merged(parts) {
  return Object.fromEntries(parts.flatMap((part) => Object.entries(part ?? {})));
}

/**
 * Asks for at most 100 targets at once, for each once.
 * @param {string[]} targets
 * @param {(ids: string[]) => Promise<any>} ask
 * @returns {Promise<any[]>}
 */
async function batches(targets, ask) {
  const parts = [], ids = [...new Set(targets)];
  for (let from = 0; from < ids.length; from += BATCH) parts.push(await ask(ids.slice(from, from + BATCH)));
  return parts;
}

/** @param {number} ms @param {AbortSignal} [signal] @returns {Promise<void>} */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
