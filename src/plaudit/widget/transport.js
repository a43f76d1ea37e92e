/**
 * One call to the service: address, token, time limit, and what a failure means. Repeats nothing but a 401, once. What
 * one user asks for never goes out with the token of another, if `moved` is there to be told of it.
 */

/**
 * @typedef {(why: {renew: boolean}) => string | null | Promise<string | null>} TokenCallback called again with
 *   `renew: true` when the token of before will not do: refused, about to end, or perhaps another user's
 * @typedef {string | TokenCallback | null} Token
 * @typedef {{endpoint?: string, token?: Token, fetch?: typeof fetch, timeoutMs?: number, known?: string | null,
 *   moved?: (token: string | null) => void}} Options `known`: what the callback has just answered; `moved`: told once
 *   when it answers for another user than at first, after which there are no tokens here
 * @typedef {{query?: Record<string, string>, body?: object, headers?: Record<string, string>, signal?: AbortSignal,
 *   open?: boolean, keepalive?: boolean}} Extra `open`: without token, so that any cache on the way may answer
 */

/** Where a token says whose it is. A service that reads another claim writes it in here as it serves this file. */
const CLAIM = "sub";
const TIMEOUT_MS = 10_000;
const LATER = new Set([408, 425, 429, 500, 502, 503, 504]);
/** Status and code of refusals because of some of the targets, or because of how many they are. */
const PARTLY = /^(41[34]|431)|token_missing|target_not_granted/;
const EARLY_MS = 30_000;
const LONGEST_WAIT_S = 3600; // a timer of more than 24 days would end at once

/**
 * The call failed. `code`: null without an answer of the service. `retry`: it may work later. `stored`: false if
 * nothing was stored, undefined if nobody knows. `key`: that of a tap by `PlauditClient`.
 */
export class PlauditError extends Error {
  /**
   * @param {string} message
   * @param {{code?: string | null, status?: number, waitMs?: number, errors?: {field: string, message: string}[],
   *   targets?: string[], cause?: unknown, stored?: false}} [known] `targets`: all because of which a call about many
   *   was refused
   */
  constructor(message, { code = null, status = 0, waitMs = 0, errors = [], targets = [], cause, stored } = {}) {
    super(message, { cause });
    this.name = "PlauditError";
    this.code = code;
    this.status = status;
    this.waitMs = waitMs;
    this.errors = errors;
    this.targets = targets;
    /** What cannot be read of some targets never can; the others can be asked for. */
    this.retry = !targets.length && (code === null || LATER.has(status));
    /** Whether another process may do better than the one that should have answered. */
    this.elsewhere = code === null || code === "unavailable" || code.startsWith("http_");
    this.stored = this.retry && status !== 429 && status !== 503 ? stored : false;
  }
}

export class Transport {
  /** @type {string | null | undefined} */
  #known;
  /** When it is better to ask for another one. */
  #untilMs = Infinity;
  #renew = false;
  /** Whether what does not say whose it is may be another user's. */
  #doubt = false;
  /** How often everything known was dropped: what was asked for before is of no use. */
  #turn = 0;
  /** @type {Promise<string | null> | null} */
  #asking = null;
  /** Whose tokens these are: undefined until one is there, null for nobody's, empty where it does not say. @type {string | null | undefined} */
  user;

  /** @param {Options} [options] `endpoint`: where the service is; by default where this file came from */
  constructor({ endpoint, token = null, fetch: how = (url, init) => fetch(url, init), timeoutMs = TIMEOUT_MS, known, moved } = {}) {
    const root = endpoint ?? import.meta.url.replace(/\/widget\/.*$/, "/");
    this.root = new URL(root.replace(/\/?$/, "/"), globalThis.document?.baseURI).href;
    this.source = token;
    this.fetch = how;
    this.timeoutMs = timeoutMs;
    this.moved = moved;
    if (typeof token !== "function") known = token || null;
    if (known !== undefined) this.#take(known);
  }

  /** The decoded answer. Raises `PlauditError`. @param {string} method @param {string} path @param {Extra} [extra] */
  async call(method, path, extra = {}) {
    const limit = AbortSignal.timeout(this.timeoutMs);
    const signal = extra.signal ? AbortSignal.any([limit, extra.signal]) : limit;
    return decode(await this.request(method, path, { ...extra, signal }));
  }

  /**
   * The response of a good call, its body unread. Raises `PlauditError`.
   * @param {string} method @param {string} path @param {Extra} extra @returns {Promise<Response>}
   */
  async request(method, path, { query, body, headers, signal, open, keepalive }, again = false) {
    const url = new URL(`api/v1/${path}`, this.root);
    // Ids as they are, so that caches on the way see one address for one question.
    if (query) url.search = String(new URLSearchParams(query)).replaceAll("%2C", ",").replaceAll("%3A", ":");
    const token = open ? null : await this.token();
    let response;
    try {
      response = await this.fetch(url.href, {
        method, signal, keepalive, credentials: "omit",
        headers: {
          ...headers,
          ...(token && { authorization: `Bearer ${token}` }),
          ...(body && { "content-type": "application/json" }),
        },
        body: body && JSON.stringify(body),
      });
    } catch (cause) {
      throw new PlauditError("The service does not answer.", { cause });
    }
    if (response.ok) return response;
    if (response.status !== 401 || again || !token || typeof this.source !== "function") throw await problem(response);
    if (this.#known === token) this.#drop(); // several calls may learn it at once; one asks
    return this.request(method, path, { query, body, headers, signal, open, keepalive }, true);
  }

  /** Ask anew for the token, and whose it is. */
  again() {
    this.#turn += 1;
    this.#asking = null;
    this.#doubt = true;
    this.#drop();
  }

  /** The token to use now, null for none. Raises `PlauditError`. @returns {Promise<string | null>} */
  async token() {
    const { source } = this;
    if (typeof source !== "function") return source || null;
    if (Date.now() > this.#untilMs) this.#drop();
    if (this.#known !== undefined) return this.#known;
    return this.#asking ??= this.#ask(source, this.#turn);
  }

  #drop() {
    this.#known = undefined;
    this.#renew = true;
  }

  /** @param {TokenCallback} source @param {number} turn @returns {Promise<string | null>} */
  async #ask(source, turn) {
    let token = null;
    try {
      await null; // those who drop it together ask once
      if (turn === this.#turn) token = (await source({ renew: this.#renew })) || null;
      // RFC 6750 section 2.1. A host app in trouble answers with a page.
      if (!/^\s*[\w.~+/=-]+\s*$/.test(/** @type {any} */ (token))) throw token;
    } catch (cause) {
      if (turn === this.#turn) throw new PlauditError("There is no token now.", { cause, stored: false });
    } finally {
      if (turn === this.#turn) this.#asking = null;
    }
    if (turn === this.#turn) {
      const user = userOf(token);
      if (this.moved && this.user !== undefined && (user !== this.user || (this.#doubt && user === ""))) {
        this.source = () => Promise.reject(); // from now on there is none
        this.moved(token);
      } else this.#take(token);
    }
    return this.token();
  }

  /** @param {string | null} token */
  #take(token) {
    this.#known = token;
    this.user = userOf(token);
    /** What it lets see that is not everybody's, unproven. @type {unknown} */
    this.grants = claims(token).targets;
    this.#renew = this.#doubt = false;
    // A clock that is wrong may say that a new one has ended: the service will say so if it is true.
    const untilMs = 1000 * claims(token).exp - EARLY_MS;
    this.#untilMs = untilMs > Date.now() ? untilMs : Infinity;
  }
}

/** What a token says, unproven. @param {string | null} token @returns {any} */
function claims(token) {
  try {
    return JSON.parse(atob(/** @type {string} */ (token).split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))) ?? {};
  } catch {
    return {};
  }
}

/**
 * Whose token it is, empty if it does not say, null without one. Unproven: for the word "you", and to keep users apart.
 * @param {string | null} token
 * @returns {string | null}
 */
export function userOf(token) {
  return token && String(claims(token)[CLAIM] ?? "");
}

/** @param {Response} response @returns {Promise<any>} */
async function decode(response) {
  try {
    return await response.json();
  } catch (cause) {
    throw new PlauditError("The answer cannot be read.", { status: response.status, cause });
  }
}

/** The refusal as an error. @param {Response} response */
async function problem(response) {
  const { status } = response;
  /** @type {any} */
  const told = await response.json().catch(() => null);
  return new PlauditError(String(told?.detail ?? told?.title ?? `The service answers ${status}.`), {
    status,
    code: String(told?.code ?? `http_${status}`),
    waitMs: 1000 * Math.min(LONGEST_WAIT_S, Math.max(0, Number(response.headers.get("retry-after")) || 0)),
    errors: list(told?.errors),
    targets: list(told?.target_ids),
  });
}

/** @param {any} told */
function list(told) {
  return Array.isArray(told) ? told : [];
}

/**
 * The targets because of which a call was refused, and what to ask for in its place: the others, or halves where the
 * refusal does not say which. Most refusals are for all.
 * @param {string[]} ids @param {PlauditError} error @returns {string[][]}
 */
export function parted(ids, { code, status, targets }) {
  const good = ids.filter((id) => !targets.includes(id));
  if (good.length < ids.length) return [ids.filter((id) => targets.includes(id)), good];
  const half = ids.length >> 1;
  return half && PARTLY.test(`${status} ${code}`) ? [[], ids.slice(0, half), ids.slice(half)] : [ids];
}

/** 128 random bits: the key of one wish. `crypto.randomUUID` is missing on pages without TLS. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A pause that grows with the failures, of random length so that clients do not come back together. What the service
 * asked for comes first, and then at random up to as much again, or to the pause there would be without it if that is
 * longer: a whole crowd was told the same second.
 * @param {number} failures @param {number} [waitMs] what the service asked for @param {number} [longestMs]
 */
export function backoff(failures, waitMs = 0, longestMs = 30_000) {
  const most = Math.min(longestMs, 400 * 2 ** failures);
  return waitMs ? waitMs + Math.max(waitMs, most) * Math.random() : most * (0.5 + Math.random() / 2);
}
