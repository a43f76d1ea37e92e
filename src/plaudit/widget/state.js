/**
 * What one user sees of one target: the last that the service told, and the user's newest wish on top of it.
 *
 * Pure: every function takes a state and returns a state. Answers overtake each other, get lost and come twice; these
 * rules keep the sum right:
 * - `counts` contain the own reaction `own`. An answer and a line of a feed tell both, of one moment.
 * - While nobody knows whether the service has a request, counts alone may or may not contain it. They are held back
 *   until own reaction and counts are told together.
 * - Of two counts the higher version is the newer, whenever it arrives.
 */

/**
 * @typedef {{total: number, reactions: Record<string, number>, version: number, lanes?: number}} Counts
 * @typedef {{id: string, name: string, avatar_url: string | null}} User
 * @typedef {{sample: User[], others: number}} Summary
 * @typedef {{counts: Counts, reaction?: string | null, summary?: Summary, route?: string, closed?: boolean}} FeedItem
 * @typedef {{reaction: string | null, counts: Counts}} Told
 * @typedef {{key: string, reaction: string | null, stored?: false, lost?: true}} Sent `lost`: a try was, and perhaps stored
 */

/**
 * @typedef {object} State
 * @property {Counts | null} counts null until told
 * @property {string | null | undefined} own undefined until told
 * @property {number} ownAt the version at which `own` was told
 * @property {string | null | undefined} wish what the service is not known to have; undefined for nothing
 * @property {Sent | null} sent the request without an answer; `stored: false` if it is known to be nowhere
 * @property {boolean} unsure an earlier request was given up, and perhaps it was stored
 * @property {Counts | null} held newer counts that wait for an answer
 * @property {number} turn how often own state changed here: what was asked before the last change tells nothing of it
 */

/** @type {State} */
export const UNKNOWN = {
  counts: null, own: undefined, ownAt: -1, wish: undefined, sent: null, unsure: false, held: null, turn: 0,
};

/** The user wishes for this reaction, or none. @param {State} state @param {string | null} reaction @returns {State} */
export function wished(state, reaction) {
  return { ...state, wish: reaction, turn: state.turn + 1 };
}

/** Counts from anywhere, at any time. @param {State} state @param {Counts} counts @returns {State} */
export function counted(state, counts) {
  if (holding(state)) return { ...state, held: newer(state.held, counts) };
  return { ...state, counts: newer(state.counts, counts) };
}

/**
 * A line of a feed that was asked for in `turn`. @param {State} state @param {FeedItem} item @param {number} turn
 * @returns {State}
 */
export function fed(state, item, turn) {
  const { reaction, counts } = item;
  if (reaction === undefined || state.turn !== turn || counts.version < state.ownAt) return counted(state, counts);
  const next = paired(state, { reaction, counts });
  if (state.sent) return next;
  const own = next.wish === undefined ? { own: reaction, ownAt: counts.version } : {};
  return released({ ...next, ...own, unsure: false });
}

/** Whether a wish is not settled yet. @param {State} state */
export function waiting(state) {
  return state.wish !== undefined || state.sent !== null;
}

/**
 * What to show now. @param {State} state
 * @returns {{own: string | null, total: number, reactions: Record<string, number>}}
 */
export function shown(state) {
  const was = state.own ?? null;
  const own = state.wish === undefined ? was : state.wish;
  const { total, reactions } = state.counts ?? { total: 0, reactions: {} };
  if (own === was) return { own, total, reactions };
  const changed = { ...reactions };
  if (was !== null) changed[was] = Math.max(0, (changed[was] ?? 0) - 1);
  if (own !== null) changed[own] = (changed[own] ?? 0) + 1;
  return { own, total: Math.max(0, total + Number(own !== null) - Number(was !== null)), reactions: changed };
}

/** Whether this is COUNTS, whoever sent it. @param {any} counts @returns {counts is Counts} */
export function isCounts(counts) {
  const natural = (/** @type {unknown} */ number) => Number.isSafeInteger(number) && Number(number) >= 0;
  return natural(counts?.total) && natural(counts.version) && typeof counts.reactions === "object"
    && counts.reactions !== null && Object.values(counts.reactions).every(natural);
}

/** @param {State} state */
function holding(state) {
  return state.unsure || (state.sent !== null && state.sent.stored !== false);
}

/** What was held back, once nothing is open any more. @param {State} state @returns {State} */
export function released(state) {
  return state.held && !holding(state) ? { ...state, counts: newer(state.counts, state.held), held: null } : state;
}

/**
 * Own reaction and counts of one moment, if they are the newest.
 * @param {State} state
 * @param {Told} told
 * @returns {State}
 */
export function paired(state, { reaction, counts }) {
  if (state.counts && counts.version < state.counts.version) return state;
  return { ...state, own: reaction, ownAt: counts.version, counts };
}

/** @param {Counts | null} known @param {Counts} counts @returns {Counts} */
export function newer(known, counts) {
  return known && known.version >= counts.version ? known : counts;
}
