/** How long a client waits before it tries again. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Transport, backoff } from "../../src/plaudit/widget/transport.js";

/** @param {() => number} pause */
const pauses = (pause) => Array.from({ length: 500 }, pause).sort((a, b) => a - b);

test("pauses grow and are random", () => {
  for (const [failures, most] of [[0, 400], [3, 3200], [20, 30_000]]) {
    const found = pauses(() => backoff(failures));
    assert.ok(found[0] >= most / 2 && found[499] <= most);
    assert.ok(found[450] - found[50] > most / 4);
  }
});

test("never sooner than asked for, and a crowd that was told the same second comes back spread", () => {
  const found = pauses(() => backoff(0, 3000));
  assert.ok(found[0] >= 3000 && found[499] <= 6000);
  assert.ok(found[450] - found[50] > 2000);
  assert.ok(Math.max(...pauses(() => backoff(20, 1000, 5000))) > 5000);
});

test("what is asked for is believed within reason", async () => {
  for (const [told, waitMs] of [["2", 2000], ["999999999999", 3_600_000], ["-1", 0], ["Wed, 21 Oct 2026 07:28:00 GMT", 0]]) {
    const answer = () => Promise.resolve(new Response("{}", { status: 503, headers: { "retry-after": String(told) } }));
    const transport = new Transport({ endpoint: "http://plaudit.test/", fetch: answer });
    await assert.rejects(transport.call("GET", "catalogue"), (/** @type {any} */ error) => error.waitMs === waitMs);
  }
});
