"""`python -m benchmarks.widget`: what fifty bars cost a page, in headless Chromium without a graphics card.

A tap is timed in the page: handler, style and layout at full speed, and from the click to the painted frame with the
processor slowed down six times. Results go to benchmarks/results/widget.json.
"""

import argparse
import json
import os
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from benchmarks.load import HERE
from plaudit.http.widget import read_widget
from tests.support.server import ServerProcess
from tests.widget.board import Board
from tests.widget.measure import BARS, SLOWDOWN, TAP_MS, VIRAL_TAPS_PER_S, script_ms_per_s, viral

EAGER = ("plaudit-bar.js", "dom.js", "session.js", "state.js", "styles.js", "texts.js", "transport.js")
VIEW = ViewportSize(width=800, height=900)
# The time of the first frame in which every bar near the viewport shows its counts, from the start of the navigation.
PAINTED_MS = """() => new Promise(resolve => {
  const look = () => {
    const bars = [...document.querySelectorAll("plaudit-bar")].slice(0, 5);
    if (bars.every(bar => !bar.shadowRoot.querySelector(".bar").hidden)) resolve(performance.now());
    else requestAnimationFrame(look);
  };
  look();
})"""
PLAIN = """() => {
  const plain = Object.assign(document.createElement("button"), {id: "plain", textContent: "plain"});
  plain.addEventListener("click", () => { plain.textContent += "!"; });
  document.querySelector("h1").append(plain);
}"""
FRAMES_MS = """() => {
  globalThis.taps = [];
  addEventListener("click", () => {
    const from = performance.now();
    requestAnimationFrame(() => {
      const channel = new MessageChannel(); // after this frame is painted
      channel.port1.onmessage = () => taps.push(performance.now() - from);
      channel.port2.postMessage(0);
    });
  }, {capture: true});
}"""


def measure(browser: Browser, server: ServerProcess, seconds: float) -> dict[str, Any]:
    """Everything, in one page."""
    sizes = {name: len(module.gzipped) for name, module in sorted(read_widget().items())}
    targets = [f"bench:{number}" for number in range(BARS)]
    board = Board(server, browser.new_context(viewport=VIEW))
    board.open(targets, "alice").ready(5)
    painted_ms = board.page.evaluate(PAINTED_MS)
    board.live()
    idle = script_ms_per_s(board.page, seconds)
    with viral(server, targets[0]):
        board.wait(lambda: (board.shown(targets[0]) or {"total": 0})["total"] > 0)
        busy = script_ms_per_s(board.page, seconds)
    bar_ms, plain_ms = slow_frames_ms(board, targets[1:4])
    tall = Board(server, browser.new_context(viewport={"width": 800, "height": 12_000}))
    tap_ms = tall.open(targets, "bob").ready().live().page.evaluate(TAP_MS)
    for one in (board, tall):
        one.close()
        one.context.close()
    return {
        "eager_gzipped_bytes": sum(sizes[name] for name in EAGER),
        "gzipped_bytes": sizes,
        "first_paint_ms": round(painted_ms),
        "script_ms_per_s_idle": round(idle, 2),
        f"script_ms_per_s_with_{VIRAL_TAPS_PER_S}_taps_per_s": round(busy, 2),
        "tap_ms_handler_style_layout": round(tap_ms, 2),
        f"tap_ms_to_painted_frame_slowed_{SLOWDOWN}_times": round(bar_ms),
        f"plain_button_ms_to_painted_frame_slowed_{SLOWDOWN}_times": round(plain_ms),
    }


def slow_frames_ms(board: Board, targets: list[str]) -> tuple[float, float]:
    """From a click to its painted frame on a slow processor, medians: a bar, and a button that changes its own text."""
    page, session = board.page, board.context.new_cdp_session(board.page)
    page.evaluate(PLAIN)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
    page.evaluate(FRAMES_MS)
    medians = []
    for buttons in ([board.main(target) for target in targets], [page.locator("#plain")] * len(targets)):
        for button in buttons:
            button.click()
            page.wait_for_timeout(700)  # polling the page would run in the very frame that is timed
        medians.append(float(median(page.evaluate("taps.splice(0)"))))
    session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    return medians[0], medians[1]


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="length of one measurement of scripts")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/widget.json")
    options = parser.parse_args()
    env = {"PLAUDIT_RATE_LIMIT_PER_S": "0"}
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(Path(folder) / "data", env=env) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=options.chromium, args=args)
        found = measure(browser, server, options.seconds)
        machine = (
            f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, "
            f"Chromium {browser.version}; server and browser on the same cores"
        )
        browser.close()
    found = {"machine": machine, "at": f"{datetime.now(UTC):%Y-%m-%d}", **found}
    text = json.dumps(found, indent=2)
    print(text)
    if options.keep:
        (HERE / "results" / "widget.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
