/**
 * One target of a service, one user's client made of the rules in `state.js`, and a network between them that delays,
 * loses, doubles and reorders whatever it carries.
 */

import * as settle from "../../src/plaudit/widget/settle.js";
import * as seen from "../../src/plaudit/widget/state.js";

const rules = { ...seen, ...settle };

export const REACTIONS = ["like", "love", "sad"];

/** The service: keys make a request count once, counts contain the user's own reaction. */
class Service {
  own = null;
  version = 0;
  others = { like: 3, love: 1, sad: 0 };
  /** What others gave, by version. */
  history = [{ ...this.others }];
  keys = new Set();

  carryOut({ key, reaction }) {
    if (!this.keys.has(key) && this.own !== reaction) {
      this.own = reaction;
      this.#next();
    }
    this.keys.add(key);
    return { reaction: this.own, counts: this.counts() };
  }

  somebodyElse(reaction, step) {
    this.others[reaction] = Math.max(0, this.others[reaction] + step);
    this.#next();
  }

  counts() {
    const reactions = { ...this.others };
    if (this.own) reactions[this.own] += 1;
    return { total: Object.values(reactions).reduce((sum, n) => sum + n), reactions, version: this.version };
  }

  #next() {
    this.version += 1;
    this.history[this.version] = { ...this.others };
  }
}

export class World {
  service = new Service();
  state = rules.fed(rules.UNKNOWN, { counts: this.service.counts(), reaction: null }, 0);
  /** Requests on their way, answers on their way, counts and feeds on their way. */
  requests = [];
  answers = [];
  news = [];
  awaited = null;
  wanted = null;
  #keys = 0;
  /** How often anything was sent, and which of these arrived. */
  #tries = 0;
  #arrived = new Set();

  /** @param {boolean} late whether a request may arrive after the client has given it up */
  constructor(late) {
    this.late = late;
  }

  wish(reaction) {
    this.wanted = reaction;
    this.state = rules.wished(this.state, reaction);
    this.send();
  }

  /** As the session does it: one outstanding. */
  send() {
    if (this.awaited) return;
    this.state = rules.sending(this.state, `k${(this.#keys += 1)}`);
    if (!this.state.sent) return;
    this.awaited = this.state.sent.key;
    if (!this.late) this.requests = this.requests.filter(({ key }) => key === this.awaited);
    this.requests.push({ ...this.state.sent, turn: (this.#tries += 1) });
  }

  /** A request arrives; `again`: and a copy of it comes later. */
  arrive(at, again) {
    const [request] = again ? this.requests.slice(at, at + 1) : this.requests.splice(at, 1);
    if (!request) return;
    this.#arrived.add(request.turn);
    this.answers.push({ key: request.key, answer: this.service.carryOut(request) });
  }

  answer(at, again) {
    const [got] = again ? this.answers.slice(at, at + 1) : this.answers.splice(at, 1);
    if (!got) return;
    this.state = rules.answered(this.state, got.key, got.answer);
    if (this.awaited === got.key) this.awaited = null;
    this.send();
  }

  /** No answer in time, or a 504. */
  timeOut() {
    if (!this.awaited) return;
    this.state = rules.failed(this.state, this.awaited, false);
    this.awaited = null;
    this.send();
  }

  /** 503: the request never gets to the rules. An earlier one with its key may have, or may yet. */
  notNow() {
    if (!this.awaited || this.#arrived.has(this.#tries)) return;
    this.requests = this.requests.filter(({ turn }) => turn !== this.#tries);
    this.state = rules.failed(this.state, this.awaited, true);
    this.awaited = null;
    this.send();
  }

  /** 4xx. */
  refuse() {
    if (!this.#bounce()) return;
    if (this.state.wish === this.state.sent.reaction) this.wanted = undefined;
    this.state = rules.refused(this.state, this.awaited);
    this.awaited = null;
    this.send();
    this.ask(); // the client's idea of the target was wrong
  }

  tell() {
    this.news.push({ counts: this.service.counts() });
  }

  ask() {
    this.news.push({ counts: this.service.counts(), reaction: this.service.own, turn: this.state.turn });
  }

  hear(at, again) {
    const [item] = again ? this.news.slice(at, at + 1) : this.news.splice(at, 1);
    if (!item) return;
    this.state = "turn" in item ? rules.fed(this.state, item, item.turn) : rules.counted(this.state, item.counts);
  }

  /** From now on the network is a good one. What was given up arrives first, if it arrives at all. */
  settle() {
    while (this.requests.length || this.answers.length || rules.waiting(this.state)) {
      while (this.requests.length) this.arrive(0, false);
      while (this.answers.length) this.answer(0, false);
      this.timeOut();
      this.send();
    }
    while (this.news.length) this.hear(0, false);
    this.ask();
    this.hear(0, false);
  }

  /** Takes the awaited request off the way, if it was never delivered. */
  #bounce() {
    const at = this.requests.findIndex(({ key }) => key === this.awaited);
    if (at < 0 || this.service.keys.has(this.awaited)) return false;
    this.requests = this.requests.filter(({ key }) => key !== this.awaited);
    return true;
  }
}
