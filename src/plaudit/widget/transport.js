/** One call to the service: address, token, time limit, and what a failure means. Repeats nothing but a 401, once. */

/**
 * @typedef {(why: {renew: boolean}) => string | null | Promise<string | null>} TokenCallback called again with
 *   `renew: true` when the service refused the token before
 * @typedef {string | TokenCallback | null} Token
 * @typedef {{endpoint?: string, token?: Token, fetch?: typeof fetch, timeoutMs?: number}} Options
 * @typedef {{query?: Record<string, string>, body?: object, headers?: Record<string, string>, signal?: AbortSignal,
 *   open?: boolean, keepalive?: boolean}} Extra `open`: without token, so that any cache on the way may answer
 */

const TIMEOUT_MS = 10_000;
const LATER = new Set([408, 425, 429, 500, 502, 503, 504]);
const NOWHERE = new Set([429, 503]);
const LONGEST_WAIT_S = 3600; // a timer of more than 24 days would end at once

/**
 * The call failed. `code`: null without an answer of the service. `retry`: it may work later. `stored`: false if
 * nothing was stored, undefined if nobody knows.
 */
export class PlauditError extends Error {
  /**
   * @param {string} message
   * @param {{code?: string | null, status?: number, waitMs?: number, errors?: {field: string, message: string}[], cause?: unknown}} [known]
   */
  constructor(message, { code = null, status = 0, waitMs = 0, errors = [], cause } = {}) {
    super(message, { cause });
    this.name = "PlauditError";
    this.code = code;
    this.status = status;
    this.waitMs = waitMs;
    this.errors = errors;
    this.retry = code === null || LATER.has(status);
    /** Whether another process may do better than the one that should have answered. */
    this.elsewhere = code === null || code === "unavailable" || code.startsWith("http_");
    this.stored = !this.retry || NOWHERE.has(status) ? /** @type {const} */ (false) : undefined;
  }
}

export class Transport {
  /** @type {string | null | undefined} */
  #known;
  #refused = false;
  /** @type {Promise<string | null> | null} */
  #asking = null;

  /** @param {Options} [options] `endpoint`: where the service is; by default where this file came from */
  constructor({ endpoint, token = null, fetch: how, timeoutMs = TIMEOUT_MS } = {}) {
    const root = endpoint ?? import.meta.url.replace(/\/widget\/.*$/, "/");
    this.root = new URL(root.endsWith("/") ? root : `${root}/`, globalThis.document?.baseURI).href;
    this.source = token;
    this.fetch = how ?? ((/** @type {string} */ url, /** @type {RequestInit} */ init) => fetch(url, init));
    this.timeoutMs = timeoutMs;
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
  async request(method, path, { query, body, headers, signal, open = false, keepalive }, again = false) {
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
    if (this.#known === token) {
      this.#known = undefined; // several calls may learn it at once; one asks
      this.#refused = true;
    }
    return this.request(method, path, { query, body, headers, signal, open, keepalive }, true);
  }

  /** The token to use now, null for none. Raises `PlauditError`. @returns {Promise<string | null>} */
  async token() {
    if (typeof this.source !== "function") return this.source || null;
    if (this.#known !== undefined) return this.#known;
    this.#asking ??= this.#ask(this.source).finally(() => { this.#asking = null; });
    return this.#asking;
  }

  /** @param {TokenCallback} source */
  async #ask(source) {
    try {
      this.#known = (await source({ renew: this.#refused })) || null;
    } catch (cause) {
      throw new PlauditError("There is no token now.", { cause });
    }
    this.#refused = false;
    return this.#known;
  }
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
    errors: Array.isArray(told?.errors) ? told.errors : [],
  });
}

/** 128 random bits: the key of one wish. `crypto.randomUUID` is missing on pages without TLS. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A pause that grows with the failures, of random length so that clients do not come back together. What the service
 * asked for comes first, and then up to as much again: a whole crowd was told the same second.
 * @param {number} failures @param {number} [waitMs] what the service asked for @param {number} [longestMs]
 */
export function backoff(failures, waitMs = 0, longestMs = 30_000) {
  const most = Math.min(longestMs, 400 * 2 ** failures);
  return waitMs ? waitMs + Math.max(waitMs, most) * Math.random() : most * (0.5 + Math.random() / 2);
}
