"""One window on the demo page, and what the service really has."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import BrowserContext, Locator, Page, Route
from playwright.sync_api import Request as Sent

from tests.support.server import ServerProcess

TAP = "**/api/v1/reactions"
WITHIN_MS = 15_000


@dataclass
class Visit:
    """A window with one user chosen. `close` asserts that nothing foreign was asked for and nothing went wrong."""

    server: ServerProcess
    context: BrowserContext
    failures_expected: bool = False
    """Whether the test makes requests fail, which Chromium writes to its console."""
    errors: list[str] = field(default_factory=list)
    requests: list[Sent] = field(default_factory=list)
    _handler: Callable[[Route], object] | None = None
    _taken: int = 0

    def __post_init__(self) -> None:
        self.context.set_default_timeout(WITHIN_MS)
        self.page: Page = self.context.new_page()
        self.page.on("request", lambda sent: self.requests.append(sent))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda message: self.errors.append(message.text) if _bad(message.type) else None
        )

    def open(self, user: str = "demo-alice") -> "Visit":
        """Go to the page as this user."""
        self.page.goto(f"{self.server.url}/demo")
        self.settled()
        if user != "demo-alice":
            self.become(user)
        return self

    def close(self) -> None:
        """The window goes away."""
        self.context.close()
        foreign = [sent.url for sent in self.requests if not sent.url.startswith(self.server.url)]
        assert foreign == []
        assert [
            text for text in self.errors if not (self.failures_expected and "Failed to load" in text)
        ] == []

    def reload(self) -> None:
        """As the visitor's F5."""
        self.page.reload()
        self.settled()

    def become(self, user: str) -> None:
        """Choose another user."""
        self.page.locator(f"input[value={user}]").check()
        self.settled()

    def settled(self) -> None:
        """Wait until the feed of the chosen user is shown."""
        self.page.wait_for_selector("#feed[aria-busy=false]")

    def card(self, target: str) -> Locator:
        """The card of one target."""
        return self.page.locator(f"[data-target='{target}']")

    def main(self, target: str) -> Locator:
        """The button that gives and takes back."""
        return self.card(target).locator("> .reacts .main")

    def choice(self, target: str, reaction: str) -> Locator:
        """One reaction of the picker."""
        return self.card(target).locator(f"> .reacts .choice[data-reaction={reaction}]")

    def pick(self, target: str, reaction: str) -> None:
        """Choose from the picker."""
        self.card(target).locator("> .reacts .more").click()
        self.choice(target, reaction).click()

    def state(self, target: str) -> dict[str, Any]:
        """Own reaction and counts as the page shows them now."""
        shown: dict[str, Any] = self.card(target).evaluate(SHOWN)
        return shown

    def until(self, target: str, own: str | None, total: int) -> None:
        """Wait until the page shows this and has heard from the service about everything it sent."""
        self.page.wait_for_function(UNTIL, arg=[target, own, total])

    def toast(self) -> str:
        """Wait for something to be said."""
        self.page.wait_for_selector("#toast:not(:empty)")
        return self.page.locator("#toast").inner_text()

    def taps(self) -> list[tuple[str | None, str]]:
        """Reaction and key of the taps that were sent so far."""
        sent = [one for one in self.requests if one.method == "PUT"]
        return [
            (json.loads(one.post_data or "")["reaction_type"], one.headers["idempotency-key"]) for one in sent
        ]

    def take(self, handler: Callable[[Route], object], *, times: int = 1_000_000) -> None:
        """So many taps go to the handler instead of the service, or until `let_go`; then they go through again."""
        if self._taken == 0 and self._handler is None:
            self.page.route(TAP, self._route)
        self._handler, self._taken = handler, times

    def hold(self) -> list[Route]:
        """Taps do not reach the service; they wait in the list that is returned."""
        held: list[Route] = []
        self.take(held.append)
        return held

    def let_go(self) -> None:
        """Taps go through again. Those that were held stay with the test."""
        self._taken = 0

    # Not by `unroute`: that lets the held ones through as well.
    def _route(self, route: Route) -> None:
        if self._handler is not None and self._taken > 0:
            self._taken -= 1
            self._handler(route)
        else:
            route.continue_()


SHOWN = """card => {
  const main = card.querySelector(":scope > .reacts .main");
  const reactions = {};
  for (const item of card.querySelectorAll(":scope > .reacts .counts li:not([hidden])"))
    reactions[item.dataset.count] = Number(item.querySelector(".number").textContent);
  return {own: main.dataset.reaction || null, pressed: main.getAttribute("aria-pressed") === "true",
          total: Number(card.dataset.total), reactions};
}"""

UNTIL = """([target, own, total]) => {
  const card = document.querySelector(`[data-target='${target}']`);
  const bar = card.querySelector(":scope > .reacts .bar");
  return bar.dataset.waiting === "false" && Number(card.dataset.total) === total
    && (card.querySelector(":scope > .reacts .main").dataset.reaction || null) === own;
}"""


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
    return {"own": own, "pressed": own is not None, "total": counts["total"], "reactions": reactions}


def _bad(kind: str) -> bool:
    return kind in {"error", "warning", "assert"}
