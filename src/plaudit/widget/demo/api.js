// @ts-check
/** Calls to the service as one demo user. Knows tokens, problems and time limits; nothing of what is shown. */

/** Where the service is: this file is DEMO/assets/api.js below it. */
const ROOT = new URL("../../", import.meta.url);
const TIME_LIMIT_MS = 10_000;
const RENEW_BEFORE_MS = 60_000;

/**
 * @typedef {{total: number, reactions: Record<string, number>, version: number, lanes: number}} Counts
 * @typedef {{id: string, name: string, avatar_url: string | null}} User
 * @typedef {{counts: Counts, reaction: string | null, summary: {sample: User[]}}} FeedItem
 * @typedef {{reaction: string | null, counts: Counts}} Answer
 * @typedef {{user: User, reaction: string, reacted_at: string}} Reactor
 * @typedef {{reactors: Reactor[], next_cursor: string | null, total: number}} ReactorsPage
 */

/** The service said no, and will say so again. */
export class Refused extends Error {}

/** It may work later. `stored` is false if the service said that nothing was stored, else nobody knows. */
export class TryAgain extends Error {
  /**
   * @param {string} message
   * @param {{stored?: false, waitMs?: number}} [known]
   */
  constructor(message, { stored, waitMs = 0 } = {}) {
    super(message);
    this.stored = stored;
    this.waitMs = waitMs;
  }
}

export class Api {
  /** @type {Promise<{token: string, until: number}> | null} */
  #token = null;

  /** @param {string} user the id of the demo user to act as */
  constructor(user) {
    this.user = user;
  }

  /**
   * Wish for a reaction (null: none). The same key again is the same wish.
   * @param {string} target
   * @param {string | null} reaction
   * @param {string} key
   * @returns {Promise<Answer>}
   */
  put(target, reaction, key) {
    const body = { target_id: target, reaction_type: reaction };
    return this.#authorized("PUT", "api/v1/reactions", { body, headers: { "idempotency-key": key } });
  }

  /**
   * Counts, own reactions and newest reactors of these targets.
   * @param {string[]} targets
   * @returns {Promise<Record<string, FeedItem>>}
   */
  async feed(targets) {
    const answer = await this.#authorized("POST", "api/v1/reactions/feed", { body: { target_ids: targets } });
    return answer.targets;
  }

  /**
   * The counts alone. The browser sends the ETag along, so unchanged counts cost an empty answer.
   * @param {string[]} targets
   * @returns {Promise<Record<string, Counts>>}
   */
  async counts(targets) {
    const query = new URLSearchParams({ target_ids: targets.join(",") });
    return (await this.#authorized("GET", `api/v1/reactions/counts?${query}`)).counts;
  }

  /**
   * A page of those who reacted.
   * @param {string} target
   * @param {{type?: string, cursor?: string, limit: number}} wanted
   * @returns {Promise<ReactorsPage>}
   */
  reactors(target, { type, cursor, limit }) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (type) query.set("type", type);
    if (cursor) query.set("cursor", cursor);
    return this.#authorized("GET", `api/v1/reactions/${encodeURIComponent(target)}/reactors?${query}`);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{body?: object, headers?: Record<string, string>}} [extra]
   */
  async #authorized(method, path, { body, headers } = {}) {
    for (let fresh = false; ; fresh = true) {
      const authorization = `Bearer ${await this.#freshToken()}`;
      const response = await request(method, path, { body, headers: { ...headers, authorization } });
      if (response.status !== 401 || fresh) return read(response);
      this.#token = null; // it ended early, or the server has another secret now
    }
  }

  async #freshToken() {
    const known = await this.#token?.catch(() => null);
    if (known && Date.now() < known.until) return known.token;
    this.#token = this.#newToken();
    return (await this.#token).token;
  }

  async #newToken() {
    const answer = await read(await request("POST", "demo/token", { body: { user: this.user } }));
    return { token: answer.token, until: Date.now() + answer.expires_in * 1000 - RENEW_BEFORE_MS };
  }
}

/** What the page shows: users, reactions and targets. */
export async function content() {
  return read(await request("GET", "demo/content"));
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: object, headers?: Record<string, string>}} [extra]
 */
async function request(method, path, { body, headers = {} } = {}) {
  try {
    return await fetch(new URL(path, ROOT), {
      method,
      headers: body ? { ...headers, "content-type": "application/json" } : headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(TIME_LIMIT_MS),
      credentials: "omit",
    });
  } catch (error) {
    throw new TryAgain(error instanceof Error ? error.message : "no answer");
  }
}

/**
 * The decoded answer, or the problem as one of our two errors.
 * @param {Response} response
 */
async function read(response) {
  let document;
  try {
    document = await response.json();
  } catch {
    throw new TryAgain(`answer ${response.status} cannot be read`);
  }
  if (response.ok) return document;
  const message = document.detail ?? document.title ?? `The service answers ${response.status}.`;
  const waitMs = 1000 * Number(response.headers.get("retry-after") ?? 0);
  if (response.status === 429 || response.status === 503) throw new TryAgain(message, { stored: false, waitMs });
  if (response.status === 502 || response.status === 504) throw new TryAgain(message, { waitMs });
  throw new Refused(message);
}
