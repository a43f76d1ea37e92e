"""A page of its own with `<plaudit-bell>` in a real Chromium, against a real server or what a test has it answer."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from playwright.sync_api import Browser, Page, Route

from tests.support.server import HOST, ServerProcess

WITHIN_S = 60.0
POLICY = "default-src 'none'; script-src 'self' 'nonce-page'; connect-src 'self'; img-src 'self'"
PAGE = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>A page</title><script type="module" src="/widget/plaudit-bell.js"></script>
<header><plaudit-bell every="2" {attributes}></plaudit-bell></header><main><h1>A page</h1><p>Text.</p></main>
<script nonce="page">
  window.asked = [];
  document.documentElement.style.colorScheme = "{scheme}";
  document.querySelector("plaudit-bell").token = async (how) => {{ window.asked.push(how); return "{token}"; }};
</script></html>"""


FOCUSED = "document.activeElement.shadowRoot?.activeElement?.innerText"


def told(id_: str, **other: Any) -> dict[str, Any]:
    """One message as the service tells it."""
    person = {"id": "ann", "name": "Ann", "avatar_url": None}
    return {
        "id": id_, "target_id": "post:1", "text": f"Ann reacted ({id_})", "reactions": {"like": 1},
        "at": "2026-01-02T03:04:05Z", "read": True, "sample": [person], **other,
    }  # fmt: skip


@contextmanager
def bell_server(folder: Path) -> Iterator[ServerProcess]:
    """A service that tells owners after two seconds."""
    env = {"PLAUDIT_NOTIFICATION_WINDOWS_S": "[2]"}
    with ServerProcess(folder / "data", env=env) as running:
        yield running
        assert '"level": "error"' not in running.log


class Bell:
    """A page with a bell for one user."""

    def __init__(self, browser: Browser, server: ServerProcess, user: str, **options: Any) -> None:
        lang, attributes = options.pop("lang", "en"), options.pop("attributes", "")
        scheme = options.pop("scheme", "light")
        self.server = server
        self.user = user
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on(
            "console", lambda m: self.problems.append(m.text) if m.type in {"error", "warning"} else None
        )
        self.page.on("request", lambda sent: self.asked.append(sent.url))
        token = server.token(user)
        shown = PAGE.format(lang=lang, attributes=attributes, token=token, scheme=scheme)

        def page(route: Route) -> None:
            headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": POLICY}
            route.fulfill(body=shown, headers=headers)

        self.page.route("**/a-page", page)
        self.page.goto(f"{server.url}/a-page")
        self.button = self.page.locator("plaudit-bell").get_by_role("button").first
        self.button.wait_for()

    def api(self, method: str, path: str, user: str | None, body: Any = None) -> Any:
        """One call as somebody, None for the host app."""
        token = self.server.token(user, service=user is None)
        headers = {"authorization": f"Bearer {token}"}
        response = httpx.request(method, self.server.url + path, json=body, headers=headers, timeout=WITHIN_S)
        assert response.status_code == 200, response.text
        return response.json()

    def tell(self, *names: str, target: str, title: str) -> None:
        """Have these react to a target of the user all at once, so in one window, and wait until the user was told."""
        asked = list[tuple[str, dict[str, str]]]()
        before = len(self.api("GET", "/api/v1/me/notifications", self.user)["notifications"])
        self.api("PUT", f"/api/v1/targets/{target}", None, {"owner_id": self.user, "title": title})
        for name in names:
            self.api("PUT", f"/api/v1/users/{name.lower()}", None, {"name": name})

        calls = [HTTPConnection(HOST, self.server.port, timeout=WITHIN_S) for _ in names]
        for n, (call, name) in enumerate(zip(calls, names, strict=True)):
            call.connect()
            token = self.server.token(name.lower())
            body = json.dumps({"target_id": target, "reaction_type": ("love", "haha", "like")[n % 3]})
            asked.append((body, {"authorization": f"Bearer {token}", "content-type": "application/json"}))
        for call, (body, headers) in zip(calls, asked, strict=True):  # nothing but the sending in between
            call.request("PUT", "/api/v1/reactions", body, headers)
        assert [call.getresponse().status for call in calls] == [200] * len(calls)
        for call in calls:
            call.close()
        deadline = time.monotonic() + WITHIN_S
        while len(self.api("GET", "/api/v1/me/notifications", self.user)["notifications"]) == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.look()

    def look(self) -> None:
        """Have it look now, as when the network comes back."""
        self.page.evaluate("dispatchEvent(new Event('online'))")

    def label(self, text: str) -> None:
        """Wait until the bell says this."""
        self.page.wait_for_function(
            "text => document.querySelector('plaudit-bell').shadowRoot.querySelector('.bell').ariaLabel === text",
            arg=text,
            timeout=WITHIN_S * 1000,
        )

    def close(self) -> None:
        """The page goes away, without a complaint."""
        self.context.close()
        assert self.problems == []


class Inbox:
    """What the service answers to a bell, in the test's hands."""

    def __init__(self, bell: Bell, messages: list[dict[str, Any]], size: int = 20) -> None:
        self.messages = messages
        self.size = size
        self.held: list[Route] | None = None
        """Requests for older pages that wait for their answer, if they are to wait."""
        bell.page.route("**/me/notifications*", self.answer)
        bell.page.route("**/me/notifications/read", lambda route: route.fulfill(json={"unread": 0}))

    def answer(self, route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        at = int(query.get("cursor", ["0"])[0])
        if at and self.held is not None:
            self.held.append(route)
            return
        etag = f'"{hash(str(self.messages))}"'
        if route.request.headers.get("if-none-match") == etag:
            route.fulfill(status=304)
            return
        unread = sum(not message["read"] for message in self.messages)
        end = at + self.size
        rest = str(end) if end < len(self.messages) else None
        page = {"notifications": self.messages[at:end], "unread": unread, "next_cursor": rest}
        route.fulfill(json=page, headers={"etag": etag})
