/**
 * Server-Sent Events over fetch, which, other than EventSource, sends a token and sees why it is refused.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */

import { PlauditError } from "./transport.js";

const SILENCE_MS = 45_000; // three heartbeats
const LONGEST_EVENT = 1 << 20;
const BROKEN = 10;
const TYPE = "text/event-stream";

/** @typedef {import("./transport.js").Transport} Transport */

/**
 * Counts of these targets: a snapshot, then what changes, until `signal`. Ends where the service ends it. Raises
 * `PlauditError`. @param {Transport} transport @param {string[]} ids @param {{signal: AbortSignal, open?: boolean}} how
 * @returns {AsyncGenerator<Record<string, unknown>, void>}
 */
export async function* changes(transport, ids, { signal, open }) {
  const extra = { query: { target_ids: ids.join(",") }, signal, open, headers: { accept: TYPE } };
  const response = await transport.request("GET", "reactions/stream", extra);
  if (!response.headers.get("content-type")?.startsWith(TYPE)) throw new PlauditError("This is no stream.");
  let broken = 0;
  for await (const data of events(response)) {
    const counts = decoded(data);
    broken = counts ? 0 : broken + 1;
    if (broken > BROKEN) throw new PlauditError("The stream is garbage.");
    if (counts) yield counts;
  }
}

/** The data of each event named `counts`. @param {Response} response @returns {AsyncGenerator<string, void>} */
export async function* events(response) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  let rest = "", name = "";
  /** @type {string[]} */
  let data = [];
  try {
    for (;;) {
      const chunk = await heard(reader);
      rest += decoder.decode(chunk, { stream: true });
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "") {
          if (data.length && name === "counts") yield data.join("\n");
          data = [];
          name = "";
        }
        const [, field, value] = /^([^:]+)(?:: ?(.*))?$/s.exec(line) ?? [];
        if (field === "event") name = value ?? "";
        if (field === "data") data.push(value ?? "");
      }
      if (rest.length > LONGEST_EVENT || data.length > LONGEST_EVENT) throw new PlauditError("The stream is garbage.");
      if (!chunk) return;
    }
  } catch (cause) {
    throw cause instanceof PlauditError ? cause : new PlauditError("The stream broke off.", { cause });
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * The next bytes, undefined at the end. Raises `PlauditError` when not even a heartbeat comes.
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 */
async function heard(reader) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new PlauditError("The stream is silent.")), SILENCE_MS);
  });
  try {
    return (await Promise.race([reader.read(), silence])).value;
  } finally {
    clearTimeout(timer);
  }
}

/** @param {string} data @returns {Record<string, unknown> | null} */
function decoded(data) {
  try {
    const { counts } = JSON.parse(data);
    return typeof counts === "object" ? counts : null;
  } catch {
    return null;
  }
}
