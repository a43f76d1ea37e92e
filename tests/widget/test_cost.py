"""What a page of bars costs: few requests, a frame for a tap, little work beside a viral target."""

import time
from collections.abc import Callable

import pytest

from tests.support.api import fresh
from tests.support.server import ServerProcess
from tests.widget.board import Board, Service
from tests.widget.measure import BARS, SLOWDOWN, TAP_MS, viral

pytestmark = pytest.mark.browser

Open = Callable[..., Board]

EVENTS_PER_S = 4  # that the service sends at most
CLOCK_TICK_MS = 0.1  # of a page's clock


def api_calls(one: Board) -> list[str]:
    """Method and call of every request to the API so far, in order."""
    start = f"{one.server.url}/api/v1"
    return [
        f"{sent.method} {sent.url.removeprefix(start).split('?')[0]}"
        for sent in one.requests
        if sent.url.startswith(start)
    ]


def costs(one: Board) -> Callable[[], dict[str, float]]:
    """A look at what Chromium has counted for the page so far: layouts, seconds of script, and more."""
    session = one.context.new_cdp_session(one.page)
    session.send("Performance.enable")
    return lambda: {
        metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]
    }


def test_fifty_bars_are_there_after_two_requests(board: Open, service: Service) -> None:
    targets = [fresh("post:") for _ in range(BARS)]
    service.tap("bob", targets[0], "love")
    one = board(viewport={"width": 800, "height": 12_000})
    one.page.route("**/later.js", lambda route: None)  # what comes after the bars never comes
    one.open(targets, "alice").ready()
    assert api_calls(one) == ["GET /catalogue", "POST /reactions/feed"]
    assert one.page.evaluate(PRESSABLE) == BARS
    assert one.shown(targets[0]) == {"own": None, "total": 1, "reactions": {"love": 1}}


def test_a_tap_is_shown_with_the_next_frame_on_a_slow_machine(board: Open) -> None:
    targets = [fresh("post:") for _ in range(BARS)]
    one = board(viewport={"width": 800, "height": 900}).open(targets, "alice").ready(5).live()
    session = one.context.new_cdp_session(one.page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
    one.page.evaluate(WATCH_TAPS)
    for target in targets[:3]:
        box = one.main(target).bounding_box()
        assert box
        one.page.mouse.click(box["x"] + 20, box["y"] + 20)
    one.page.wait_for_function("() => globalThis.shown.length === 3")
    assert one.page.evaluate("shown") == [True] * 3, "in the frame after the click"


def test_what_a_tap_does_at_once_fits_into_a_frame(board: Open) -> None:
    """Milliseconds are for benchmarks/widget.py."""
    targets = [fresh("post:") for _ in range(BARS)]
    one = board(viewport={"width": 800, "height": 12_000}).open(targets, "alice").ready().live()
    one.page.evaluate(WATCH_BARS)
    found = one.page.evaluate(TAP_ALL)
    assert found["drawn"] == [[at] for at in range(BARS)], "each tap draws its own bar, and no other"
    assert found["barMs"] < 40 * (found["plainMs"] + CLOCK_TICK_MS), found


def test_a_tap_lays_out_nothing_twice(board: Open) -> None:
    """Of fifty taps at once. Nothing else is laid out: time stands still, no tap is answered, and colours do not fade,
    which each frame would be counted for."""
    targets = [fresh("post:") for _ in range(BARS)]
    one = board(viewport={"width": 800, "height": 12_000}, reduced_motion="reduce")
    one.page.clock.install()
    one.open(targets, "alice").ready().live()
    one.on_taps(lambda route: None)
    one.page.evaluate(WATCH_BARS)
    one.page.clock.pause_at(one.page.evaluate("Date.now()") / 1000 + 1)
    cost = costs(one)
    before = cost()
    one.page.evaluate(TAP_ALL)
    after = cost()
    for what in ("LayoutCount", "RecalcStyleCount"):
        assert after[what] - before[what] <= 2 * BARS + 2, (
            f"{what}: once for the bar, once for the plain button"
        )


def test_fifty_bars_cost_little_beside_a_viral_target(
    board: Open, server: ServerProcess, service: Service
) -> None:
    targets = [fresh("post:") for _ in range(BARS)]
    one = board(viewport={"width": 800, "height": 12_000})
    one.page.add_init_script(COUNT_FRAMES)
    one.open(targets, "alice").ready().live()
    one.page.evaluate(WATCH_BARS)
    cost = costs(one)

    def tapped() -> int:
        feed = service.call("POST", "/reactions/feed", {"target_ids": targets[:1]}, "emi")
        return int(feed["targets"][targets[0]]["counts"]["version"])

    def now() -> dict[str, float]:
        shown = one.page.evaluate(
            "({frames: frameCount, version: document.querySelector('plaudit-bar').counts.version})"
        )
        return {**cost(), **shown, "at_s": time.monotonic(), "asked": len(api_calls(one)), "tapped": tapped()}

    with viral(server, targets[0]):
        one.wait(lambda: now()["version"] > 0)
        before = now()
        one.page.evaluate("drawnBars()")
        one.wait(lambda: now()["version"] > before["version"])
        one.page.wait_for_timeout(5_000)
        after = now()
    drawn, before_taps = one.page.evaluate("drawnBars()"), cost()
    one.page.evaluate(TAP_MS)
    fifty_taps_s = cost()["ScriptDuration"] - before_taps["ScriptDuration"]
    did = {name: after[name] - before[name] for name in after}
    told = EVENTS_PER_S * did["at_s"] + 2
    assert drawn == [0], "no bar is drawn but the one that changed"
    assert did["asked"] <= did["at_s"] + 2, "counts come without being asked for"
    assert did["frames"] < did["tapped"], "many taps are one frame"
    assert did["frames"] <= 2 * told
    assert did["LayoutCount"] <= 2 * told
    assert did["ScriptDuration"] < 10 * fifty_taps_s, "seconds of it cost about what fifty taps do"


# Which bars' shadow trees have changed since the last look, by their places.
WATCH_BARS = """() => {
  const watched = [...document.querySelectorAll("plaudit-bar")].map(bar => {
    const observer = new MutationObserver(() => { seen.add(bar); });
    observer.observe(bar.shadowRoot, {subtree: true, childList: true, characterData: true, attributes: true});
    return [bar, observer];
  });
  const seen = new Set();
  globalThis.drawnBars = () => {
    for (const [bar, observer] of watched) if (observer.takeRecords().length) seen.add(bar);
    const places = watched.flatMap(([bar], at) => seen.has(bar) ? [at] : []);
    seen.clear();
    return places;
  };
}"""
# Every bar, and beside it a button that changes its own text: medians over the second half, as in `TAP_MS`.
TAP_ALL = """() => {
  const bars = [...document.querySelectorAll("plaudit-bar")];
  const plain = bars.map(bar => {
    const button = Object.assign(document.createElement("button"), {textContent: "plain"});
    button.addEventListener("click", () => { button.textContent += "!"; });
    bar.after(button);
    return button;
  });
  const time = button => {
    const from = performance.now();
    button.click();
    document.body.getBoundingClientRect();
    return performance.now() - from;
  };
  const median = all => all.slice(all.length / 2).sort((one, other) => one - other)[Math.floor(all.length / 4)];
  document.body.getBoundingClientRect();
  drawnBars();
  const drawn = [], barMs = [], plainMs = [];
  for (const [at, bar] of bars.entries()) {
    barMs.push(time(bar.shadowRoot.querySelector(".react")));
    drawn.push(drawnBars());
    plainMs.push(time(plain[at]));
  }
  return {drawn, barMs: median(barMs), plainMs: median(plainMs)};
}"""
# How many bars have a button that would be pressed where it is seen.
PRESSABLE = """() => [...document.querySelectorAll("plaudit-bar")].filter(bar => {
  const button = bar.shadowRoot.querySelector(".react");
  const {x, y, width, height} = button.getBoundingClientRect();
  return button.contains(bar.shadowRoot.elementFromPoint(x + width / 2, y + height / 2));
}).length"""
# What the page's scripts ask for.
COUNT_FRAMES = """
  globalThis.frameCount = 0;
  const ask = requestAnimationFrame;
  globalThis.requestAnimationFrame = draw => { frameCount += 1; return ask(draw); };
"""
WATCH_TAPS = """() => {
  globalThis.shown = [];
  addEventListener("click", event => {
    const host = event.composedPath().find(one => one.localName === "plaudit-bar");
    requestAnimationFrame(() => shown.push(host.shadowRoot.querySelector(".react").ariaPressed === "true"));
  }, {capture: true});
}"""
