/** The crowd: lets it loose and shows what it costs. Staleness is measured here, from the server's clock to the eye. */

import { byId, element, graphic, setText } from "./dom.js";

/** @typedef {import("../../widget/plaudit-bar.js").PlauditBar} PlauditBar */
/**
 * @typedef {{at_ms: number, taps: number, refused: number, p50_ms: number, p99_ms: number, version: number,
 *   version_at_ms: number}} Slice half a second, on the server's clock
 * @typedef {{running: boolean, target: string, taps: number, planned: number, now_ms: number, slices: Slice[]}} Look
 */

const LOOK_MS = 500;
const SLICE_S = 0.5;
const AFTERGLOW = 4; // looks after the end, so that the last changes are seen
const FLOOR_MS = 10; // so that a quiet line is a flat one
const WIDTH = 120;
const HEIGHT = 36;
const number = new Intl.NumberFormat("en");

/** One figure with its line. */
class Gauge {
  #value = element("dd", {}, "–");
  #line = graphic("path", { class: "line" });
  #area = graphic("path", { class: "area" });

  /** @param {string} name @param {string} title @param {string} unit @param {number} least what the top stands for at least */
  constructor(name, title, unit, least) {
    this.unit = unit;
    this.least = least;
    const chart = graphic(
      "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.#area, this.#line,
    );
    this.element = element("div", { class: "gauge", "data-gauge": name }, element("dt", {}, title), this.#value, chart);
  }

  /** @param {(number | undefined)[]} values oldest first @param {number} room how many there may be @param {number | undefined} now */
  show(values, room, now) {
    setText(this.#value, now === undefined ? "–" : `${number.format(Math.round(now))} ${this.unit}`);
    const top = Math.max(this.least, ...values.map((value) => value ?? 0));
    const step = WIDTH / Math.max(1, room - 1);
    const points = values.flatMap((value, at) => value === undefined
      ? [] : [[at * step, HEIGHT - 1.5 - (value / top) * (HEIGHT - 4)]]);
    const path = points.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    this.#line.setAttribute("d", path);
    const [first, last] = [points[0], points[points.length - 1]];
    this.#area.setAttribute("d", path && `${path}L${last[0].toFixed(1)} ${HEIGHT}L${first[0].toFixed(1)} ${HEIGHT}Z`);
  }
}

export class Viral {
  #button = /** @type {HTMLButtonElement} */ (byId("viral"));
  #state = byId("viral-state");
  #taps = new Gauge("taps", "Taps per second", "/s", 50);
  #latency = new Gauge("latency", "99 of 100 answered within", "ms", FLOOR_MS);
  #staleness = new Gauge("staleness", "Seen here after", "ms", FLOOR_MS);
  #following = false;
  #left = 0; // looks before nobody follows any more
  /** Counts starts and their answers: a look from before one of these says nothing about the run. */
  #turn = 0;
  /** When each version was on screen first, on our clock. @type {[version: number, atMs: number][]} */
  #seen = [];
  /** By the start of a slice. @type {Map<number, number>} */
  #stale = new Map();
  /** Our clock less the server's, and the length of the look that said so. @type {{ms: number, tookMs: number}} */
  #offset = { ms: 0, tookMs: Infinity };

  /** @param {string} target @param {(PlauditBar | undefined)[]} bars those that show it */
  constructor(target, bars) {
    this.target = target;
    this.bars = bars;
    byId("gauges").append(this.#taps.element, this.#latency.element, this.#staleness.element);
    this.#button.addEventListener("click", () => void this.#start());
  }

  /** Show what there is; while somebody's run goes on, follow it. */
  async follow() {
    this.#left = AFTERGLOW;
    if (this.#following) return;
    this.#following = true;
    const watch = () => {
      if (this.#following) requestAnimationFrame(watch);
      this.#watch();
    };
    requestAnimationFrame(watch);
    while (this.#left > 0) {
      const turn = this.#turn;
      const look = await this.#look();
      if (look && turn === this.#turn) {
        this.#show(look);
        this.#left = look.running ? AFTERGLOW : this.#left - 1; // without an answer nobody knows; ask again
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    this.#following = false;
  }

  async #start() {
    this.#button.disabled = true;
    this.#seen = [];
    this.#stale.clear();
    this.#turn += 1;
    const look = await this.#look({ target: this.target });
    this.#turn += 1;
    if (look) {
      this.#show(look);
      void this.follow();
    } else {
      setText(this.#state, "The server does not answer.");
      this.#button.disabled = false;
    }
  }

  /** @param {object} [body] what to start, if anything @returns {Promise<Look | null>} */
  async #look(body) {
    const startedMs = performance.now();
    const start = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    try {
      const response = await fetch(new URL("../viral", import.meta.url), start);
      if (!response.ok) return null;
      /** @type {Look} */
      const look = await response.json();
      const endedMs = performance.now();
      const tookMs = endedMs - startedMs;
      if (tookMs < this.#offset.tookMs) this.#offset = { ms: (startedMs + endedMs) / 2 - look.now_ms, tookMs };
      return look;
    } catch {
      return null;
    }
  }

  /** Note which version is on screen. */
  #watch() {
    const version = Math.max(...this.bars.map((bar) => bar?.counts?.version ?? 0));
    if (version > (this.#seen[this.#seen.length - 1]?.[0] ?? 0)) this.#seen.push([version, performance.now()]);
  }

  /** @param {Look} look */
  #show({ running, taps, planned, slices }) {
    this.#button.disabled = running;
    if (running) setText(this.#state, `${number.format(taps)} of ${number.format(planned)} taps`);
    else setText(this.#state, slices.length ? `${number.format(taps)} taps stored` : "");
    const whole = slices.slice(0, -1); // the last one has only begun
    for (const slice of whole) this.#measure(slice);
    const room = Math.max(36, whole.length);
    const last = running ? whole[whole.length - 1] : undefined;
    const best = (/** @type {number[]} */ values) => (values.length ? Math.max(...values) : undefined);
    const rates = whole.map((slice) => slice.taps / SLICE_S);
    this.#taps.show(rates, room, last ? last.taps / SLICE_S : best(rates));
    const latencies = whole.map((slice) => (slice.taps ? slice.p99_ms : undefined));
    this.#latency.show(latencies, room, last?.p99_ms ?? best(latencies.filter((value) => value !== undefined)));
    const stale = whole.map((slice) => this.#stale.get(slice.at_ms));
    const known = stale.filter((value) => value !== undefined);
    this.#staleness.show(stale, room, running ? known[known.length - 1] : best(known));
  }

  /** How long the newest version of a slice took to the screen. @param {Slice} slice */
  #measure({ at_ms: at, version, version_at_ms: since }) {
    if (!version || !since || this.#stale.has(at)) return;
    const place = this.#seen.findIndex(([each]) => each >= version);
    // What was there when this page began to look is of any age.
    if (place > 0) this.#stale.set(at, Math.max(0, this.#seen[place][1] - (since + this.#offset.ms)));
  }
}
