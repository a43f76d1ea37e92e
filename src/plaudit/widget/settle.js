/**
 * What becomes of a wish: sent, answered, refused. Those of the rules in state.js, pure as they are, that nothing needs
 * before bars are there: so they are not part of what a page loads first.
 */

import { counted, newer, paired, released, waiting } from "./state.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Told} Told */

/** How long the service knows a wish again that comes twice: a day. */
export const KEEP_MS = 864e5;

/**
 * A request may go now: the state with what to send in `sent`, null for nothing. What has no outcome goes again with
 * its key, unless a newer wish takes its place.
 * @param {State} state @param {string} key for a new request @returns {State}
 */
export function sending(state, key) {
  const { wish, sent } = state;
  if (wish === undefined) return { ...state, sent: null };
  if (sent?.reaction === wish) return { ...state, sent: { ...sent, stored: undefined } };
  const unsure = state.unsure || (sent !== null && sent.stored !== false);
  if (wish === state.own && !unsure) return released({ ...state, wish: undefined, sent: null });
  return { ...state, sent: { key, reaction: wish }, unsure };
}

/** The service answered. @param {State} state @param {string} key @param {Told} answer @returns {State} */
export function answered(state, key, answer) {
  if (state.sent?.key !== key) return paired(state, answer); // late or doubled: tells nothing of the newest wish
  return released({
    ...state,
    own: answer.reaction,
    ownAt: answer.counts.version,
    counts: newer(state.counts, answer.counts),
    wish: state.wish === state.sent.reaction ? undefined : state.wish,
    sent: null,
    unsure: false,
    turn: state.turn + 1,
  });
}

/**
 * No answer, or "later". That says nothing of an earlier request with this key.
 * @param {State} state @param {string} key
 * @param {boolean} nowhere whether the service says that nothing was stored @returns {State}
 */
export function failed(state, key, nowhere) {
  const { sent } = state;
  if (sent?.key !== key) return state;
  if (!nowhere || sent.lost) return { ...state, sent: { ...sent, lost: true } };
  return released({ ...state, sent: { ...sent, stored: false } });
}

/**
 * The service refused it: the wish is gone unless there is a newer one.
 * @param {State} state
 * @param {string} key
 * @returns {State}
 */
export function refused(state, key) {
  if (state.sent?.key !== key) return state;
  const wish = state.wish === state.sent.reaction ? undefined : state.wish;
  return released({ ...state, wish, sent: null, turn: state.turn + 1 });
}

/** The same user got this answer in another tab. @param {State} state @param {Told} answer @returns {State} */
export function toldElsewhere(state, answer) {
  if (waiting(state) || answer.counts.version <= state.ownAt) return counted(state, answer.counts);
  const next = counted(state, answer.counts);
  return { ...next, own: answer.reaction, ownAt: answer.counts.version, turn: state.turn + 1 };
}

/** The wish is somebody else's to settle. @param {State} state @returns {State} */
export function dropped(state) {
  return released({ ...state, wish: undefined, sent: null, turn: state.turn + 1 });
}
