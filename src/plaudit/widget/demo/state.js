// @ts-check
/**
 * What one user sees of one target: the last state the service told, and the user's newest wish on top of it.
 *
 * Counts come from several calls whose answers overtake each other. These rules keep the sum right:
 * - `counts` and `own` always belong together: own reaction `own` is in `counts`.
 * - While a wish is under way nobody knows whether newer counts contain it, so they are held back until its answer,
 *   which says the own reaction and counts that contain it.
 * - Of two counts the higher version is the newer, whenever it arrives.
 */

/** @typedef {import("./api.js").Counts} Counts */

/** @typedef {{own: string | null, total: number, reactions: Record<string, number>, sample: import("./api.js").User[]}} Shown */

export class TargetState {
  /** @type {Counts} */
  counts = { total: 0, reactions: {}, version: -1, lanes: 1 };
  /** @type {string | null} */
  own = null;
  /** @type {import("./api.js").User[]} */
  sample = [];
  /** The version the sample was read at. */
  sampleVersion = -1;
  /** What the user used last here: what the main button offers. @type {string | null} */
  lastUsed = null;
  /** How often own state was changed from here; an answer asked for before the last change says nothing about it. */
  changes = 0;
  /** The newest wish; undefined if the service has it. @type {string | null | undefined} */
  #wish;
  /** The request whose outcome is not known yet. @type {{key: string, reaction: string | null} | null} */
  #sent = null;
  /** Newer counts that wait for the answer. @type {Counts | null} */
  #held = null;

  /** @param {string} id */
  constructor(id) {
    this.id = id;
  }

  /** Whether a wish is under way. */
  get waiting() {
    return this.#sent !== null || this.#wish !== undefined;
  }

  /** What to show now. @returns {Shown} */
  get shown() {
    const own = this.#wish === undefined ? this.own : this.#wish;
    const reactions = { ...this.counts.reactions };
    if (own !== this.own) {
      if (this.own !== null) reactions[this.own] = Math.max(0, (reactions[this.own] ?? 0) - 1);
      if (own !== null) reactions[own] = (reactions[own] ?? 0) + 1;
    }
    const total = Object.values(reactions).reduce((sum, count) => sum + count, 0);
    return { own, total, reactions, sample: this.sample };
  }

  /** Whether the newest reactors were read before the counts. */
  get sampleIsOld() {
    return !this.waiting && this.sampleVersion < this.counts.version;
  }

  /** The user wishes for this reaction, or none. @param {string | null} reaction */
  want(reaction) {
    this.#wish = reaction;
    this.changes += 1;
    this.lastUsed = reaction ?? this.lastUsed;
  }

  /** The request to send now, null if there is none. One without a known outcome comes again, with its key. */
  next() {
    if (this.#sent) return this.#sent;
    if (this.#wish === undefined || this.#wish === this.own) {
      this.#wish = undefined;
      return null;
    }
    this.#sent = { key: newKey(), reaction: this.#wish };
    return this.#sent;
  }

  /** The service has carried it out. @param {import("./api.js").Answer} answer */
  answered(answer) {
    this.own = answer.reaction;
    this.changes += 1;
    this.#sent = null;
    if (this.#wish === answer.reaction) this.#wish = undefined;
    this.#take(answer.counts);
    this.#release();
  }

  /** The service said that nothing was stored and that it may work later: a newer wish may go first. */
  notStored() {
    if (this.#sent?.reaction !== this.#wish) this.#sent = null;
  }

  /** The service refused it. Returns whether that took the newest wish away. */
  refused() {
    const rolledBack = this.#sent?.reaction === this.#wish;
    this.#sent = null;
    this.changes += 1;
    if (rolledBack) this.#wish = undefined;
    this.#release();
    return rolledBack;
  }

  /** Counts from somewhere. @param {Counts} counts */
  see(counts) {
    if (!this.waiting) this.#take(counts);
    else if (counts.version > (this.#held ?? this.counts).version) this.#held = counts;
  }

  /**
   * A line of a feed that was asked for when `changes` was `asked`.
   * @param {import("./api.js").FeedItem} item
   * @param {number} asked
   */
  seeItem(item, asked) {
    const known = this.counts.version;
    this.see(item.counts);
    if (this.waiting || item.counts.version < known) return;
    if (this.changes === asked) {
      this.own = item.reaction;
      this.lastUsed = item.reaction ?? this.lastUsed;
    }
    this.sample = item.summary.sample;
    this.sampleVersion = item.counts.version;
  }

  /** @param {Counts} counts */
  #take(counts) {
    if (counts.version > this.counts.version) this.counts = counts;
  }

  #release() {
    if (this.#held) this.#take(this.#held);
    this.#held = null;
  }
}

/** 128 random bits; `crypto.randomUUID` is missing on pages without TLS. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
