"""What bars cost a page, measured in the page."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from playwright.sync_api import Page

from tests.support.server import ServerProcess

BARS = 50
SLOWDOWN = 6
VIRAL_TAPS_PER_S = 300

# Half of the bars warm the code up; of the others the median: a tap, and the style and layout that it makes necessary.
TAP_MS = """() => {
  const took = [...document.querySelectorAll("plaudit-bar")].map(bar => {
    const button = bar.shadowRoot.querySelector(".react");
    const from = performance.now();
    button.click();
    document.body.getBoundingClientRect();
    return performance.now() - from;
  });
  return took.slice(took.length / 2).sort((one, other) => one - other)[Math.floor(took.length / 4)];
}"""


@contextmanager
def viral(server: ServerProcess, target: str) -> Iterator[None]:
    """Somebody reacts to the target a few hundred times a second."""
    stop = threading.Event()
    tokens = [server.token(f"crowd-{number}") for number in range(200)]
    sent = 0

    def run() -> None:
        nonlocal sent
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not stop.is_set():
                headers = {"authorization": f"Bearer {tokens[sent % len(tokens)]}"}
                body = {"target_id": target, "reaction_type": ("like", "love", "haha")[sent % 3]}
                answer = client.post("/api/v1/reactions", json=body, headers=headers)
                if answer.status_code != 503:  # one that would wait too long, where the machine stalls
                    answer.raise_for_status()
                sent += 1
                stop.wait(1 / VIRAL_TAPS_PER_S)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def script_ms_per_s(page: Page, for_s: float) -> float:
    """How long the page's scripts run, in milliseconds for each second of the next so many seconds."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def script_s() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "ScriptDuration"))

    before, from_s = script_s(), time.monotonic()
    page.wait_for_timeout(1000 * for_s)
    return 1000 * (script_s() - before) / (time.monotonic() - from_s)
