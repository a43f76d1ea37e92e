/**
 * What a page needs soon, but not before bars are there: live counts and kept wishes, in one request for the modules.
 */

import { Live } from "./live.js";
import { Outbox } from "./outbox.js";

/** @param {import("./session.js").Session} session @param {Promise<void>} known fulfilled when it is known who the user is */
export async function begin(session, known) {
  if (!session.over.aborted) session.live = new Live(session);
  await known;
  session.live?.join();
  await Outbox.open(session);
}
