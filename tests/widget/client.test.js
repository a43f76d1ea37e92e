/** `PlauditClient` runs the cases that the libraries of all languages run: tests/contract/client_cases.json. */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { test } from "node:test";
import { PlauditClient, PlauditError } from "../../src/plaudit/widget/plaudit-client.js";

const { PLAUDIT_TEST_URL: url, PLAUDIT_TEST_SECRET: secret } = process.env;
const { calls, cases, faults } = JSON.parse(readFileSync(new URL("../contract/client_cases.json", import.meta.url), "utf8"));

/** How each call is spelled here. */
const CALLS = {
  set: (client, { target, reaction, ...options }) => client.set(target, reaction, options),
  toggle: (client, { target, reaction, ...options }) => client.toggle(target, reaction, options),
  remove: (client, { target, ...options }) => client.remove(target, options),
  counts: (client, { targets }) => client.counts(targets),
  feed: (client, { targets, ...options }) => client.feed(targets, options),
  mine: (client, { targets, ...options }) => client.mine(targets, options),
  reactors: (client, { target, reaction, page_size: pageSize }) => all(client.reactors(target, { reaction, pageSize })),
  reacted: (client, { page_size: pageSize, ...options }) => all(client.reacted({ pageSize, ...options })),
  catalogue: (client) => client.catalogue(),
  register_target: (client, { target, ...about }) => client.registerTarget(target, about),
  registration: (client, { target }) => client.registration(target),
  delete_target: (client, { target }) => client.deleteTarget(target),
  describe_user: (client, { user, ...about }) => client.describeUser(user, about),
  erase_user: (client, { user }) => client.eraseUser(user),
  job: (client, { job_id: jobId }) => client.job(jobId),
};

test("every call of this library is in the contract, and the other way round", () => {
  const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  const methods = Object.getOwnPropertyNames(PlauditClient.prototype).filter((name) => name !== "constructor");
  assert.deepEqual(methods.sort(), [...calls.map(camel), "stream"].sort());
  assert.deepEqual(Object.keys(CALLS).sort(), [...calls].sort());
});

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

/** A token as any host app signs it (RFC 7519, HS256). */
function token(as) {
  if (as === null) return null;
  const claims = { exp: Math.floor(Date.now() / 1000) + 600, ...(as === "host" ? { scope: "service" } : { sub: as, targets: ["*"] }) };
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** A fetch that writes down what it is asked for, in the form of `sends`. */
function recording(sent) {
  return (address, init) => {
    const { pathname, searchParams } = new URL(address);
    const headers = new Headers(init.headers);
    sent.push({
      method: init.method,
      path: decodeURIComponent(pathname),
      query: Object.fromEntries(searchParams),
      ...(init.body && { body: JSON.parse(init.body) }),
      key: headers.get("idempotency-key"),
      acts: headers.get("plaudit-user") ?? undefined,
      route: headers.get("plaudit-route") ?? undefined,
    });
    return fetch(address, init);
  };
}

/** Whether `found` has at least what `wanted` has; "*" is anything but null. */
function match(found, wanted, where) {
  if (wanted === "*") assert.ok(found !== null && found !== undefined, where);
  else if (Array.isArray(wanted)) {
    assert.equal(found.length, wanted.length, where);
    wanted.forEach((one, at) => match(found[at], one, `${where}[${at}]`));
  } else if (wanted && typeof wanted === "object") {
    for (const [name, value] of Object.entries(wanted)) match(found?.[name], value, `${where}.${name}`);
  } else assert.equal(found, wanted, where);
}

async function run(client, sent, { before = [], call: [name, given], sends, returns, fails }) {
  for (const [earlier, options] of before) await CALLS[earlier](client, options);
  sent.length = 0;
  const outcome = await CALLS[name](client, given).then((value) => ({ value }), (error) => ({ error }));
  const keys = new Set(sent.filter(({ key }) => key !== null).map(({ key }) => key));
  assert.ok(keys.size <= 1, "one key for one call");
  assert.equal(sent.length, sends.length, "requests");
  sends.forEach(({ key, acts, route, body, query, ...rest }, at) => {
    match(sent[at], rest, `request ${at}`);
    assert.deepEqual(sent[at].body, body);
    assert.deepEqual(Object.keys(sent[at].query).sort(), Object.keys(query).sort());
    match(sent[at].query, query, "query");
    assert.equal(sent[at].key !== null, key);
    assert.equal(sent[at].acts, acts);
    assert.equal(sent[at].route, route);
  });
  if (fails) {
    assert.ok(outcome.error instanceof PlauditError, String(outcome.error ?? "no error"));
    match({ ...outcome.error, stored: outcome.error.stored ?? null }, fails, "error");
    assert.equal(outcome.error.key, [...keys][0], "who settles it needs the key that was sent");
  } else {
    assert.equal(outcome.error, undefined, outcome.error?.stack);
    match(outcome.value, returns, "answer");
  }
}

for (const [number, written] of cases.entries()) {
  test(written.name, { skip: !url && "no server" }, async () => {
    const one = JSON.parse(JSON.stringify(written).replaceAll("{id}", `js-${number}`));
    for (const [as, method, path, body] of one.given) {
      const headers = { authorization: `Bearer ${token(as)}`, "content-type": "application/json" };
      const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
      assert.ok(answer.ok, await answer.text());
    }
    const sent = [];
    await run(new PlauditClient({ endpoint: url, token: token(one.as), fetch: recording(sent) }), sent, one);
  });
}

for (const one of faults) {
  test(one.name, async () => {
    const answers = [...one.answers];
    const scripted = createServer((request, response) => {
      const answer = answers.shift() ?? { status: 599 };
      request.resume().on("end", () => {
        if (answer === "drop") return request.socket.destroy();
        response.writeHead(answer.status, { "content-type": "application/json", connection: "close", ...answer.headers });
        response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
      });
    });
    await new Promise((resolve) => scripted.listen(0, "127.0.0.1", resolve));
    const renewals = [];
    const sent = [];
    const client = new PlauditClient({
      endpoint: `http://127.0.0.1:${scripted.address().port}`,
      token: ({ renew }) => { renewals.push(renew); return `token-${renewals.length}`; },
      fetch: recording(sent),
      pauseMs: 1,
    });
    const fromMs = performance.now();
    try {
      await run(client, sent, one);
      assert.ok(performance.now() - fromMs >= 1000 * (one.waits_s ?? 0), "it waits as told");
      assert.equal(renewals.length - 1, one.renews ?? 0);
    } finally {
      scripted.close();
      scripted.closeAllConnections();
    }
  });
}

test("a page of errors in place of the token is not sent, and the call is made with the next one", async () => {
  const said = ["<html>\r\n<h1>502 Bad Gateway</h1>\r\n</html>", "good"];
  const sent = [];
  const fetch = async (_, { headers }) => { sent.push(headers.authorization); return Response.json({ counts: {} }); };
  const client = new PlauditClient({ endpoint: "http://localhost", token: () => said.shift(), fetch, pauseMs: 1 });
  await client.counts(["t"]);
  assert.deepEqual(sent, ["Bearer good"]);
});

test("taps that get no token together keep a key each, and know that nothing was stored", async () => {
  const token = async () => { throw new Error("no token now"); };
  const client = new PlauditClient({ endpoint: "http://localhost", token, fetch: assert.fail, attempts: 1 });
  const failed = await Promise.allSettled([undefined, undefined, "a"].map((key) => client.set("t", "like", { key })));
  assert.equal(new Set(failed.map(({ reason }) => reason.key)).size, 3);
  assert.equal(failed[2].reason.key, "a");
  assert.deepEqual(failed.map(({ reason }) => reason.stored), [false, false, undefined], "of an earlier call nothing is known");
  assert.ok(failed.every(({ reason }) => reason.retry));
  assert.match(String(failed[0].reason.cause), /no token now/);
});

test("a token callback that hangs has as long as an attempt", { timeout: 5_000 }, async () => {
  const said = [new Promise(() => {}), "good"];
  const fetch = async (_, { headers }) => Response.json({ counts: { t: headers.authorization } });
  const options = { endpoint: "http://localhost", token: () => said.shift(), fetch, timeoutMs: 20, pauseMs: 1 };
  const error = await new PlauditClient({ ...options, attempts: 1 }).set("t", "like").catch((reason) => reason);
  assert.deepEqual([typeof error.key, error.stored, error.retry], ["string", false, true]);
  said.unshift(new Promise(() => {}));
  assert.deepEqual(await new PlauditClient(options).counts(["t"]), { t: "Bearer good" });
});

test("without a new token a tap of unknown outcome keeps its key", async () => {
  const keys = [], statuses = [504, 401];
  const fetch = async (_, { headers }) => {
    keys.push(headers["idempotency-key"]);
    return new Response("", { status: statuses.shift() });
  };
  const token = ({ renew }) => renew ? "<html>" : "old";
  const client = new PlauditClient({ endpoint: "http://localhost", token, fetch, attempts: 2, pauseMs: 1 });
  const error = await client.toggle("t", "like").catch((reason) => reason);
  assert.deepEqual([keys.length, error.stored], [2, undefined]);
  assert.deepEqual(keys, [error.key, error.key]);
});

test("of many routes the newest are remembered", async () => {
  const sent = [];
  const fetch = async (_, { method, headers, body }) => {
    const { target_id: target, target_ids: targets } = JSON.parse(body);
    if (method === "PUT") sent.push(headers["plaudit-route"]);
    const told = (id) => ({ target_id: id, route: `${id}/7` });
    return Response.json(targets ? { targets: Object.fromEntries(targets.map((id) => [id, told(id)])) } : told(target));
  };
  const client = new PlauditClient({ endpoint: "http://localhost", fetch });
  await client.feed(Array.from({ length: 10_001 }, (_, number) => `t${number}`));
  for (const target of ["t0", "t1", "t10000"]) await client.set(target, "like");
  assert.deepEqual(sent, ["t0", "t1", "t10000/7"]); // t0 was forgotten; when it was told again, t1 was the oldest
});

test("a stream tells what changes, and ends with the loop", { skip: !url && "no server" }, async () => {
  const client = new PlauditClient({ endpoint: url, token: token("js-streamer") });
  const totals = [];
  for await (const counts of client.stream(["js-streamed"])) {
    totals.push(counts["js-streamed"].total);
    if (totals.length === 1) await client.set("js-streamed", "like");
    else break;
  }
  assert.deepEqual(totals, [0, 1]);
});

test("a stream can be ended from outside", { skip: !url && "no server" }, async () => {
  const stop = new AbortController();
  const client = new PlauditClient({ endpoint: url });
  for await (const _ of client.stream(["js-ended"], { signal: stop.signal })) stop.abort();
});

test("each target is asked for once, in one call", async () => {
  const sent = [];
  const fetch = async (address, { body }) => {
    sent.push(body ? JSON.parse(body).target_ids : new URL(address).searchParams.get("target_ids").split(","));
    return Response.json({ counts: {}, targets: {}, reactions: {} });
  };
  const client = new PlauditClient({ endpoint: "http://localhost", fetch });
  for (const call of ["counts", "feed", "mine"]) await client[call](["a", "b", "a"]);
  await client.mine([..."aaaaa", ...Array.from({ length: 99 }, (_, number) => `t${number}`)]);
  assert.deepEqual(sent.map((ids) => ids.length), [2, 2, 2, 100]);
});

test("an id with a comma does not become two targets", async () => {
  const client = new PlauditClient({ endpoint: "http://localhost", fetch: assert.fail });
  await assert.rejects(client.counts(["t", "a,b"]), { name: "TypeError", message: /a,b/ });
  await assert.rejects(client.stream(["a,b"]).next(), { name: "TypeError", message: /a,b/ });
});

test("__proto__ is an id like any other", async () => {
  const items = '{"__proto__": {"route": "__proto__/7"}, "t": {}}';
  const fetch = async () => new Response(`{"counts": ${items}, "targets": ${items}, "reactions": ${items}}`);
  const client = new PlauditClient({ endpoint: "http://localhost", fetch });
  for (const call of ["counts", "feed", "mine"]) {
    const found = await client[call](["__proto__", "t"]);
    assert.deepEqual(Object.keys(found), ["__proto__", "t"], call);
    assert.equal(found["__proto__"].route, "__proto__/7");
    assert.equal(Object.getPrototypeOf(found), Object.prototype);
  }
});

test("without an address the client says so", () => {
  assert.throws(() => new PlauditClient(), /endpoint/);
});
