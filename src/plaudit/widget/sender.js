/**
 * Sends what a user wishes for one target: one request at a time, again with its key until the service has it. Loaded
 * while the first answers are on their way, so that it is there before anybody can tap.
 */

import { KEEP_MS, answered, dropped, failed, refused, sending } from "./settle.js";
import { isCounts, waiting } from "./state.js";
import { PlauditError, newKey } from "./transport.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./session.js").Entry} Entry */
/** @typedef {import("./state.js").Sent} Sent */

const GIVEN_UP_LOOK_MS = 12_000;
/** Counts that any other ones are newer than. */
const NOTHING = { total: 0, reactions: {}, version: -1 };

/**
 * Ends when nothing is to be sent, or the session is over: then the rest stays in the outbox.
 * @param {Session} session @param {string} id @param {Entry} entry
 */
export async function deliver(session, id, entry) {
  session.live?.tell({ kind: "wish", id });
  for (let failures = 0; ;) {
    session.apply(entry, sending(entry.state, newKey()));
    const { sent, unsure } = entry.state;
    if (!sent) break;
    if (session.over.aborted) return;
    entry.tried.add(sent.reaction);
    try {
      take(session, id, entry, sent, await put(session, id, entry, sent));
      if (unsure) setTimeout(() => session.refresh([id]), GIVEN_UP_LOOK_MS); // the one given up may still arrive
      failures = 0;
    } catch (/** @type {any} */ error) {
      if (!error.retry) {
        takeBack(session, id, entry, sent, error);
        continue;
      }
      session.apply(entry, failed(entry.state, sent.key, error.stored === false));
      entry.astray = error.elsewhere;
      session.keep(id, entry, failures);
      await session.rest(failures, error.waitMs);
      // By the clock on the wall: others stand still while the device sleeps. Another tab may have taken it over.
      if (waiting(entry.state) && Date.now() - entry.wishedMs > KEEP_MS) expire(session, id, entry);
      failures += 1;
    }
  }
  entry.sending = entry.kept = false;
  session.outbox?.remove(id);
  session.forget(id);
}

/** @param {Session} session @param {string} id @param {Entry} entry @param {Sent} sent @returns {Promise<any>} */
function put({ transport }, id, { type, route = id, astray }, { key, reaction }) {
  return transport.call("PUT", "reactions", {
    body: { target_id: id, reaction_type: reaction, ...(type && { target_type: type }) },
    headers: { "idempotency-key": key, ...(!astray && { "plaudit-route": route }) },
    keepalive: true, // a tap just before the page goes away counts too
  });
}

/** @param {Session} session @param {string} id @param {Entry} entry @param {Sent} sent @param {any} answer */
function take(session, id, entry, sent, answer) {
  if (!isCounts(answer?.counts)) answer = { reaction: sent.reaction, counts: NOTHING };
  entry.route = answer.route ?? entry.route;
  entry.astray = false;
  entry.told = true;
  entry.tried.clear();
  session.apply(entry, answered(entry.state, sent.key, answer));
  session.live?.tell({ kind: "own", id, told: { reaction: answer.reaction, counts: answer.counts } });
  for (const watcher of entry.watchers) watcher.saved(answer.reaction);
}

/**
 * The service would not know it again any more. The bar says so: the user had seen it as given.
 * @param {Session} session @param {string} id @param {Entry} entry
 */
function expire(session, id, entry) {
  session.apply(entry, dropped(entry.state));
  const error = new PlauditError("It could not be saved within a day.", { code: "wish_expired" });
  for (const watcher of entry.watchers) watcher.refused(error);
  session.refresh([id]);
}

/**
 * The service refused it.
 * @param {Session} session @param {string} id @param {Entry} entry @param {Sent} sent @param {PlauditError} error
 */
function takeBack(session, id, entry, sent, error) {
  const rolledBack = entry.state.wish === sent.reaction;
  session.apply(entry, refused(entry.state, sent.key));
  if (error.code === "target_closed") entry.closed = true;
  if (rolledBack) for (const watcher of entry.watchers) watcher.refused(error);
  if (error.status === 401) session.signedOut([id]);
  else session.refresh([id]); // our idea of the target was wrong
}
