/** The rules of what is shown, against a service and a network that does its worst. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import * as settle from "../../src/plaudit/widget/settle.js";
import * as seen from "../../src/plaudit/widget/state.js";
import { REACTIONS, World } from "./model.js";

const rules = { ...seen, ...settle };

const RUNS = 5000;
const reaction = fc.constantFrom(null, ...REACTIONS);
const at = fc.nat(3);
const again = fc.boolean();

const step = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant("wish"), reaction) },
  { weight: 3, arbitrary: fc.tuple(fc.constant("arrive"), at, again) },
  { weight: 3, arbitrary: fc.tuple(fc.constant("answer"), at, again) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("hear"), at, again) },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom("timeOut", "notNow", "refuse", "tell", "ask")) },
  fc.tuple(fc.constant("others"), fc.constantFrom(...REACTIONS), fc.constantFrom(-1, 1, 5)),
);

// Without a size most lists would have ten steps, too few for answers to overtake each other.
const someSteps = fc.array(step, { maxLength: 60, size: "max" });

/** @param {boolean} late @param {any[][]} steps @param {(world: World, step: any[]) => void} check */
function run(late, steps, check) {
  const world = new World(late);
  for (const [name, ...rest] of steps) {
    if (name === "others") world.service.somebodyElse(...rest);
    else world[name](...rest);
    check(world, [name, ...rest]);
  }
  world.settle();
  return world;
}

test("at rest the display is what the service has, whatever the network did", () => {
  for (const late of [false, true]) {
    fc.assert(fc.property(someSteps, (steps) => {
      const world = run(late, steps, () => {});
      const { own, total, reactions } = rules.shown(world.state);
      assert.equal(own, world.service.own);
      assert.deepEqual({ total, reactions }, { total: world.service.counts().total, reactions: world.service.counts().reactions });
    }), { numRuns: RUNS });
  }
});

test("furious clicking ends in what the person saw last", () => {
  fc.assert(fc.property(someSteps, (steps) => {
    const world = run(false, steps, () => {});
    if (world.wanted !== undefined && steps.some(([name]) => name === "wish")) assert.equal(world.service.own, world.wanted);
  }), { numRuns: RUNS });
});

test("a wish shows until it is refused, and no answer flips it", () => {
  fc.assert(fc.property(someSteps, (steps) => {
    let refusedOnce = false;
    run(false, steps, (world, [name]) => {
      refusedOnce ||= name === "refuse";
      if (!refusedOnce) assert.equal(rules.shown(world.state).own, world.wanted);
    });
  }), { numRuns: RUNS });
});

test("the others' part of what is shown was true at its version, and never goes back", () => {
  fc.assert(fc.property(someSteps, (steps) => {
    let version = 0;
    run(false, steps, (world) => {
      const { counts } = world.state;
      const { own, total, reactions } = rules.shown(world.state);
      assert.ok(counts.version >= version);
      version = counts.version;
      const others = world.service.history[version];
      for (const name of REACTIONS) assert.equal(reactions[name] - Number(own === name), others[name], name);
      assert.equal(total, Object.values(reactions).reduce((sum, n) => sum + n));
    });
  }), { numRuns: RUNS });
});

test("clicking back and forth before anything was stored sends nothing", () => {
  const world = new World(false);
  world.wish("like");
  world.wish(null);
  world.notNow();
  assert.equal(rules.waiting(world.state), false);
  assert.equal(world.requests.length, 0);
});

test("a request without an answer goes again with its key, and a newer wish takes its place", () => {
  let state = rules.fed(rules.UNKNOWN, { counts: { total: 0, reactions: {}, version: 1 }, reaction: null }, 0);
  state = rules.sending(rules.wished(state, "like"), "a");
  state = rules.failed(state, "a", false);
  const { key, reaction } = rules.sending(state, "b").sent;
  assert.deepEqual({ key, reaction }, { key: "a", reaction: "like" });
  state = rules.sending(rules.wished(state, null), "c");
  assert.deepEqual(state.sent, { key: "c", reaction: null }, "although null is what the service last told");
});

test("another tab's answer is taken unless there is a wish here or it is older", () => {
  const counts = (version) => ({ total: 1, reactions: { like: 1 }, version });
  const known = rules.fed(rules.UNKNOWN, { counts: counts(5), reaction: null }, 0);
  assert.equal(rules.shown(rules.toldElsewhere(known, { reaction: "like", counts: counts(6) })).own, "like");
  assert.equal(rules.shown(rules.toldElsewhere(known, { reaction: "like", counts: counts(4) })).own, null);
  const wishing = rules.wished(known, "sad");
  assert.equal(rules.shown(rules.toldElsewhere(wishing, { reaction: "like", counts: counts(6) })).own, "sad");
  assert.equal(rules.waiting(rules.dropped(wishing)), false);
});

test("counts that are none are told apart", () => {
  for (const broken of [null, 1, "x", {}, { total: "1", version: 1, reactions: {} }, { total: -1, version: 1, reactions: {} },
    { total: 1, version: 1.5, reactions: {} }, { total: 1, version: 1, reactions: { like: "<b>" } }, { total: 1, version: 1, reactions: null }]) {
    assert.equal(rules.isCounts(broken), false, JSON.stringify(broken));
  }
  assert.equal(rules.isCounts({ total: 1, version: 1, reactions: { like: 1 }, lanes: 1 }), true);
});
