"""One window on the demo page, and what the service really has."""

import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import BrowserContext, Locator, Page
from playwright.sync_api import Request as Sent

from tests.support.server import ServerProcess

WITHIN_MS = 60_000


@dataclass
class Visit:
    """A window on the page. `close` asserts that nothing foreign was asked for and that the console stayed quiet."""

    server: ServerProcess
    context: BrowserContext
    failures_expected: bool = False
    """Whether the test makes requests fail, which Chromium writes to its console."""
    errors: list[str] = field(default_factory=list)
    requests: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.set_default_timeout(WITHIN_MS)
        self.page: Page = self.context.new_page()
        self.page.on("request", lambda sent: self.requests.append(sent))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type != "log" else None)

    def open(self, path: str = "/demo") -> "Visit":
        """Go to the page."""
        self.page.goto(f"{self.server.url}{path}")
        if path == "/demo":
            self.settled()
        return self

    def settled(self) -> None:
        """Wait until the feed is there."""
        self.page.wait_for_selector("#people[aria-busy=false]")

    def close(self) -> None:
        """The window goes away."""
        self.context.close()
        foreign = [sent.url for sent in self.requests if not sent.url.startswith(self.server.url)]
        assert foreign == []
        expected = ("Failed to load", "net::ERR") if self.failures_expected else ()
        assert [text for text in self.errors if not any(part in text for part in expected)] == []

    def side(self, at: int) -> Locator:
        """The left or right half."""
        return self.page.locator(".side").nth(at)

    def become(self, at: int, user: str) -> None:
        """Choose who looks at one side."""
        self.side(at).locator("select").select_option(user)

    def user(self, at: int) -> str:
        """Who looks at one side."""
        return self.side(at).locator("select").input_value()

    def bar(self, at: int, target: str) -> Locator:
        """The bar of a target on one side."""
        return self.side(at).locator(f"plaudit-bar[target='{target}']")

    def tap(self, at: int, target: str) -> None:
        """Press what gives and takes back."""
        bar = self.bar(at, target)
        bar.scroll_into_view_if_needed()
        bar.locator(".react").click()

    def state(self, at: int, target: str) -> dict[str, Any]:
        """Own reaction and counts as the bar shows them now."""
        bar = self.bar(at, target)
        bar.scroll_into_view_if_needed()
        shown: dict[str, Any] | None = None
        deadline = time.monotonic() + WITHIN_MS / 1000
        while shown is None:
            assert time.monotonic() < deadline, f"{target} is not shown"
            shown = bar.evaluate(SHOWN)
        return shown

    def until(self, at: int, target: str, own: str | None, total: int) -> None:
        """Wait until the bar shows this and nothing waits for the service any more."""
        deadline = time.monotonic() + WITHIN_MS / 1000
        while (shown := self.state(at, target)) | {"own": own, "total": total, "pending": False} != shown:
            assert time.monotonic() < deadline, f"{target} shows {shown}, and not {own} of {total}"
            self.page.wait_for_timeout(20)


SHOWN = """bar => bar.counts && {own: bar.reaction, total: bar.counts.total, pending: bar.pending,
  reactions: Object.fromEntries(Object.entries(bar.counts.reactions).filter(([, count]) => count))}"""


def stored(server: ServerProcess, user: str, target: str) -> dict[str, Any]:
    """Own reaction and counts as the service has them, in the form of `Visit.state`."""
    headers = {
        "authorization": f"Bearer {server.token(user, grants=['demo:*'])}",
        "content-type": "application/json",
    }
    body = json.dumps({"target_ids": [target]}).encode()
    with urlopen(Request(f"{server.url}/api/v1/reactions/feed", body, headers)) as response:
        item = json.load(response)["targets"][target]
    counts, own = item["counts"], item["reaction"]
    reactions = {name: count for name, count in counts["reactions"].items() if count}
    return {"own": own, "total": counts["total"], "pending": False, "reactions": reactions}
