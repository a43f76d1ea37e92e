"""A page with bars in a real browser, and what the service really has."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.request import Request as Call
from urllib.request import urlopen

from playwright.sync_api import BrowserContext, Locator, Page, Request, Route

from tests.support.server import ServerProcess

WITHIN_MS = 60_000
API = "/api/v1"
# As strict as a page can be: nothing inline, nothing evaluated, nothing from elsewhere, no markup from strings.
CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
PAGE = """<!doctype html><html lang="{lang}" dir="{direction}"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>A page with bars</title>{script}<main><h1>Posts</h1>{bars}</main></html>"""
BAR = (
    '<article><h2>{name}</h2><p>Some text.</p><plaudit-bar target="{target}" {more}></plaudit-bar></article>'
)
MODULE = '<script type="module" src="/widget/plaudit-bar.js"></script>'

ADDED = """([targets, more]) => {
  for (const target of targets) {
    const bar = document.createElement("plaudit-bar");
    for (const [name, value] of Object.entries({target, ...more})) bar.setAttribute(name, value);
    document.querySelector("main").append(bar);
  }
}"""
# The picker's module comes by itself, and until then nobody hears a hover or an arrow. It is loaded once.
LOADED = """async () => {
  const picker = performance.getEntriesByType("resource").find(({name}) => name.endsWith("/picker.js"));
  if (picker) await import(picker.name);
  return !!picker;
}"""
SHOWN = """bar => bar.counts && {own: bar.reaction, total: bar.counts.total,
  reactions: Object.fromEntries(Object.entries(bar.counts.reactions).filter(([, count]) => count))}"""
UNTIL = """([target, own, total]) => {
  const bar = document.querySelector(`plaudit-bar[target="${target}"]`);
  return bar?.counts && !bar.pending && bar.reaction === own && bar.counts.total === total;
}"""


class Sent(NamedTuple):
    """One request of the page to the API."""

    method: str
    path: str
    request: Request


@dataclass
class Board:
    """One page. `close` asserts that nothing foreign was asked for, nothing was executed, and the console is quiet."""

    server: ServerProcess
    context: BrowserContext
    failures_expected: bool = False
    """Whether the test makes requests fail, which Chromium itself writes to its console."""
    errors: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.set_default_timeout(WITHIN_MS)
        self.page: Page = self.context.new_page()
        self.page.on("request", lambda sent: self.requests.append(sent))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type != "log" else None)

    def open(
        self,
        targets: Sequence[str],
        user: str | None = None,
        *,
        lang: str = "en",
        direction: str = "ltr",
        attributes: str = "",
        module: bool = True,
    ) -> "Board":
        """Go to a page with a bar for each target, as this user or without a token."""
        token = f'token="{self.server.token(user, grants=["granted:*"])}"' if user else ""
        more = f'type="post" {token} {attributes}'
        bars = "".join(
            BAR.format(target=target, more=f'{more} label="{target}"', name=target) for target in targets
        )
        page = PAGE.format(lang=lang, direction=direction, script=MODULE if module else "", bars=bars)
        headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": CSP}
        self.page.route(f"{self.server.url}/page", lambda route: route.fulfill(body=page, headers=headers))
        self.page.goto(f"{self.server.url}/page")
        return self

    def ready(self, bars: int = 1_000) -> "Board":
        """Wait until the first so many bars show their counts, and hear what one does to them."""
        self.page.wait_for_function(
            "bars => [...document.querySelectorAll('plaudit-bar')].slice(0, bars).every(bar => bar.counts && "
            "!bar.shadowRoot.querySelector('.bar').hidden)",
            arg=bars,
        )
        self.page.wait_for_function(LOADED)
        return self

    def live(self) -> "Board":
        """Wait until the stream has been asked for."""
        self.wait(lambda: bool(self.sent("GET", "/reactions/stream")))
        return self

    def add(self, targets: Sequence[str], **more: str) -> None:
        """Put more bars into the page."""
        self.page.evaluate(ADDED, [list(targets), more])

    def close(self) -> None:
        """The page goes away."""
        if not self.page.is_closed():
            self.page.unroute_all(behavior="ignoreErrors")
            self.page.close()
        assert [
            sent.url for sent in self.requests if not sent.url.startswith((self.server.url, "data:"))
        ] == []
        expected = ("Failed to load resource", "net::ERR") if self.failures_expected else ()
        assert [text for text in self.errors if not any(one in text for one in expected)] == []

    def wait(self, state: Callable[[], bool], within_s: float = WITHIN_MS / 1000) -> None:
        """Wait for a state that only this side can see, while the page goes on."""
        deadline = time.monotonic() + within_s
        while not state():
            assert time.monotonic() < deadline, "not in time"
            self.page.wait_for_timeout(20)

    def bar(self, target: str) -> Locator:
        """The bar of a target."""
        return self.page.locator(f"plaudit-bar[target='{target}']")

    def main(self, target: str) -> Locator:
        """The button that gives and takes back."""
        return self.bar(target).locator(".react")

    def pick(self, target: str, label: str) -> None:
        """Choose from the picker."""
        self.bar(target).locator(".more").click()
        self.bar(target).locator(f".choice[aria-label='{label}']").click()

    def shown(self, target: str) -> dict[str, Any]:
        """Own reaction and counts as the bar shows them now."""
        shown: dict[str, Any] = self.bar(target).evaluate(SHOWN)
        return shown

    def until(self, target: str, own: str | None, total: int) -> None:
        """Wait until the bar shows this and the service has confirmed it."""
        self.page.wait_for_function(UNTIL, arg=[target, own, total])

    def sent(self, method: str, path: str) -> list[Request]:
        """The requests to this call so far."""
        return [
            one
            for one in self.requests
            if one.method == method and one.url.split("?")[0] == f"{self.server.url}{API}{path}"
        ]

    def taps(self) -> list[tuple[str | None, str]]:
        """Reaction and key of the taps that were sent so far."""
        sent = self.sent("PUT", "/reactions")
        return [
            (json.loads(one.post_data or "")["reaction_type"], one.headers["idempotency-key"]) for one in sent
        ]

    def on_taps(self, handler: Callable[[Route], object]) -> None:
        """From now on taps go to this handler; it may let them through with `continue_`."""
        self.page.unroute(f"**{API}/reactions")
        self.page.route(f"**{API}/reactions", handler)


class Service:
    """The service as the host app and other users call it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server

    def call(self, method: str, path: str, body: object = None, user: str | None = None) -> Any:
        """The decoded answer; as the host app where no user is named."""
        token = self.server.token(user, service=user is None, grants=["granted:*"])
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        call = Call(f"{self.server.url}{API}{path}", content, headers, method=method)
        with urlopen(call, timeout=30) as answer:
            return json.load(answer)

    def tap(self, user: str, target: str, reaction: str | None = "like") -> Any:
        """One tap."""
        return self.call("PUT", "/reactions", {"target_id": target, "reaction_type": reaction}, user)

    def stored(self, user: str, target: str) -> dict[str, Any]:
        """Own reaction and counts in the form of `Board.shown`."""
        item = self.call("POST", "/reactions/feed", {"target_ids": [target]}, user)["targets"][target]
        counts = item["counts"]
        reactions = {name: count for name, count in counts["reactions"].items() if count}
        return {"own": item["reaction"], "total": counts["total"], "reactions": reactions}


def middle(of: Locator) -> tuple[float, float]:
    """Where one would press it."""
    box = of.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
