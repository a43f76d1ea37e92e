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

/** A token that says this. @param {object} claims */
const tokenOf = (claims) => `e30.${btoa(JSON.stringify(claims))}.x`;
const ALICE = tokenOf({ sub: "alice" }), BOB = tokenOf({ sub: "bob" });

/** What answers questions when told to. */
function askedLater() {
  /** @type {{renew: boolean, answer: (token: string | null) => void}[]} */
  const asked = [];
  /** @param {{renew: boolean}} why @returns {Promise<string | null>} */
  const token = ({ renew }) => new Promise((answer) => { asked.push({ renew, answer }); });
  return { asked, token };
}

const turn = () => new Promise((resolve) => setTimeout(resolve));

test("an answer to what was asked before the user may have changed is not taken", async () => {
  const { asked, token } = askedLater();
  /** @type {unknown[]} */
  const moved = [];
  const transport = new Transport({ endpoint: "http://plaudit.test/", token, moved: (other) => moved.push(other) });
  const first = transport.token();
  await turn();
  transport.again();
  transport.again();
  const second = transport.token();
  await turn();
  assert.deepEqual(asked.map(({ renew }) => renew), [false, true], "both together ask once");
  asked[1].answer(BOB);
  assert.equal(await second, BOB);
  asked[0].answer(ALICE);
  assert.equal(await first, BOB);
  assert.equal(await transport.token(), BOB);
  assert.deepEqual([transport.user, moved], ["bob", []], "nobody was known before");
});

for (const [what, then, known] of /** @type {[string, string | null, string][]} */ ([
  ["another user", BOB, "a renewed token"], ["nobody", null, "a renewed token"], ["perhaps another user", "opaque", "a question"],
])) {
  test(`${what} after ${known} gets no call of before`, async () => {
    const tokens = [what.startsWith("perhaps") ? "dim" : ALICE, then, then];
    const sent = /** @type {(string | undefined)[]} */ ([]);
    const moved = /** @type {unknown[]} */ ([]);
    const transport = new Transport({
      endpoint: "http://plaudit.test/",
      token: () => tokens.shift() ?? null,
      moved: (other) => moved.push(other),
      fetch: (_, how) => {
        sent.push(/** @type {any} */ (how).headers.authorization);
        return Promise.resolve(new Response("{}", { status: 401 }));
      },
    });
    if (known === "a question") {
      await transport.token();
      transport.again();
    }
    for (let times = 0; times < 2; times += 1) {
      await assert.rejects(transport.call("PUT", "reactions"), (/** @type {any} */ error) => error.retry);
    }
    assert.deepEqual(moved, [then], "told once");
    assert.deepEqual(sent, known === "a question" ? [] : [`Bearer ${ALICE}`]);
  });
}

test("a token that is about to end is renewed, unless only this clock says so", async () => {
  const now = Date.now() / 1000;
  for (const lifeS of [20, -3600, 600]) {
    const why = /** @type {boolean[]} */ ([]);
    const token = (/** @type {{renew: boolean}} */ { renew }) => {
      why.push(renew);
      return tokenOf({ sub: "alice", exp: now + lifeS });
    };
    const transport = new Transport({ endpoint: "http://plaudit.test/", token });
    await transport.token();
    await transport.token();
    assert.deepEqual(why, [false]);
  }
});

test("it is renewed half a minute before", async (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  const why = /** @type {boolean[]} */ ([]);
  const token = (/** @type {{renew: boolean}} */ { renew }) => {
    why.push(renew);
    return tokenOf({ sub: "alice", exp: Date.now() / 1000 + 300 });
  };
  const transport = new Transport({ endpoint: "http://plaudit.test/", token });
  await transport.token();
  context.mock.timers.tick(269_000);
  await transport.token();
  assert.deepEqual(why, [false]);
  context.mock.timers.tick(2_000);
  await transport.token();
  assert.deepEqual(why, [false, true]);
});

test("an answer that cannot be a token is none now, and asked for again", async () => {
  const said = ["<html>\r\n<h1>502 Bad Gateway</h1>\r\n</html>", '{"error":"busy"}', "Bad Gateway", { token: ALICE }, `${ALICE}\n`];
  const moved = /** @type {unknown[]} */ ([]), why = /** @type {boolean[]} */ ([]);
  const sent = /** @type {(string | undefined)[]} */ ([]);
  const transport = new Transport({
    endpoint: "http://plaudit.test/",
    token: ({ renew }) => { why.push(renew); return /** @type {any} */ (said.shift()); },
    moved: (other) => moved.push(other),
    fetch: (_, how) => {
      sent.push(/** @type {any} */ (how).headers.authorization.trim());
      return Promise.resolve(new Response("{}", { status: sent.length === 1 ? 401 : 200 }));
    },
  });
  const refused = (/** @type {any} */ { code, retry, cause }) => code === null && retry && cause !== undefined;
  while (said.length > 1) await assert.rejects(transport.token(), refused);
  said.push("<html>", `${ALICE}`);
  await assert.rejects(transport.call("PUT", "reactions"), refused);
  await transport.call("PUT", "reactions");
  assert.deepEqual(why, [false, false, false, false, false, true, true]);
  assert.deepEqual(sent, [`Bearer ${ALICE}`, `Bearer ${ALICE}`]);
  assert.deepEqual([transport.user, moved], ["alice", []], "it is nobody else's");
});
