"""`<plaudit-bell>` in a real Chromium on a page of its own, against a real server."""

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.support.server import ServerProcess

pytestmark = pytest.mark.browser

WITHIN_S = 40.0
POLICY = "default-src 'none'; script-src 'self' 'nonce-page'; connect-src 'self'; img-src 'self'"
PAGE = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>A page</title><script type="module" src="/widget/plaudit-bell.js"></script>
<header><plaudit-bell every="2" {attributes}></plaudit-bell></header><main><h1>A page</h1><p>Text.</p></main>
<script nonce="page">
  window.asked = [];
  document.documentElement.style.colorScheme = "{scheme}";
  document.querySelector("plaudit-bell").token = async (how) => {{ window.asked.push(how); return "{token}"; }};
</script></html>"""


PIXEL = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
LOADED = """() => [...document.querySelector("plaudit-bell").shadowRoot.querySelectorAll("img")]
  .every(picture => picture.naturalWidth)"""


def told(id_: str, **other: Any) -> dict[str, Any]:
    """One message as the service tells it."""
    person = {"id": "ann", "name": "Ann", "avatar_url": None}
    return {
        "id": id_, "target_id": "post:1", "text": f"Ann reacted ({id_})", "reactions": {"like": 1},
        "at": "2026-01-02T03:04:05Z", "read": True, "sample": [person], **other,
    }  # fmt: skip


PLACE = """([foot, direction]) => {
  document.documentElement.dir = direction;
  const header = document.querySelector("header");
  header.style.cssText = `position: fixed; inset: ${foot ? "auto 0 0" : "0 0 auto"}; overflow: hidden; display: flex;
    justify-content: end; transform: translateX(0)`;
}"""
SEEN = """part => {
  const {x, y, width, height} = part.getBoundingClientRect();
  return part.contains(part.getRootNode().elementFromPoint(x + width / 2, y + height / 2));
}"""
FOCUSED = "document.activeElement.shadowRoot?.activeElement?.innerText"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[ServerProcess]:
    assert chromium
    env = {"PLAUDIT_NOTIFICATION_WINDOWS_S": "[2]"}
    with ServerProcess(tmp_path_factory.mktemp("bell") / "data", env=env) as running:
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
        response = httpx.request(method, self.server.url + path, json=body, headers=headers, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    def tell(self, *names: str, target: str, title: str) -> None:
        """Have these react to a target of the user all at once, so in one window, and wait until the user was told."""
        before = len(self.api("GET", "/api/v1/me/notifications", self.user)["notifications"])
        self.api("PUT", f"/api/v1/targets/{target}", None, {"owner_id": self.user, "title": title})
        for name in names:
            self.api("PUT", f"/api/v1/users/{name.lower()}", None, {"name": name})

        def tap(n: int) -> None:
            body = {"target_id": target, "reaction_type": ("love", "haha", "like")[n % 3]}
            self.api("PUT", "/api/v1/reactions", names[n].lower(), body)

        with ThreadPoolExecutor(len(names)) as crowd:
            list(crowd.map(tap, range(len(names))))
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


def test_a_bell_counts_opens_and_marks_as_read(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "olivia", attributes='link="/posts/{target}"')
    bell.label("Notifications")
    bell.tell("Alice", "Bob", target="post:lake", title="Sunrise at the lake")
    bell.label("Notifications, 1 unread")
    badge = bell.page.locator("plaudit-bell .badge")
    assert badge.inner_text() == "1"
    assert bell.button.get_attribute("aria-expanded") == "false"
    bell.button.click()
    panel = bell.page.get_by_role("dialog", name="Notifications")
    item = panel.get_by_role("link")
    text = item.inner_text()
    assert "reacted to your post “Sunrise at the lake”" in text
    assert "Bob and Alice" in text or "Alice and Bob" in text
    assert item.get_attribute("href") == "/posts/post%3Alake"
    assert item.get_by_role("img", name="New").is_visible()
    bell.label("Notifications")
    assert not badge.is_visible()
    assert bell.api("GET", "/api/v1/me/notifications", "olivia")["unread"] == 0
    bell.page.keyboard.press("Escape")
    assert not panel.is_visible()
    assert bell.page.evaluate("document.activeElement.localName") == "plaudit-bell"
    bell.page.keyboard.press("Enter")
    assert not item.get_by_role("img", name="New").is_visible()
    bell.page.locator("h1").click()
    assert not panel.is_visible()
    bell.close()


def test_it_polls_cheaply_and_only_while_it_is_seen(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "oscar")
    bell.label("Notifications")
    unchanged = bell.page.expect_response(lambda answer: answer.status == 304, timeout=WITHIN_S * 1000)
    with unchanged:
        pass
    hide = "Object.defineProperty(document, 'visibilityState', {configurable: true, value: '%s'})"
    event = "document.dispatchEvent(new Event('visibilitychange'))"
    bell.page.evaluate(f"{hide % 'hidden'}; {event}")
    asked = len(bell.asked)
    bell.page.wait_for_timeout(3_000)  # longer than a look takes to come round: there is none
    assert len(bell.asked) == asked
    with bell.page.expect_response("**/me/notifications?limit=20", timeout=WITHIN_S * 1000):
        bell.page.evaluate(f"{hide % 'visible'}; {event}")
    bell.close()


def test_a_refused_token_is_renewed_once(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "opal")
    bell.label("Notifications")
    good = server.token("opal")
    bell.page.evaluate(
        "good => { const bell = document.querySelector('plaudit-bell'); window.asked = [];"
        " bell.token = async (how) => { window.asked.push(how.renew); return how.renew ? good : 'expired'; }; }",
        good,
    )
    bell.page.wait_for_function("() => window.asked.length === 2")
    assert bell.page.evaluate("window.asked") == [False, True]
    bell.problems = [problem for problem in bell.problems if "401" not in problem]
    bell.page.evaluate("document.querySelector('plaudit-bell').token = null")
    bell.label("Notifications")
    bell.close()


def test_a_page_may_load_it_twice(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "oona")
    with bell.page.expect_response("**/widget/0/plaudit-bell.js"):
        bell.page.add_script_tag(url="/widget/0/plaudit-bell.js", type="module")
    bell.label("Notifications")
    bell.close()


def test_what_another_user_was_told_is_gone_at_once(browser: Browser, server: ServerProcess) -> None:
    change = (
        "token => { const bell = document.querySelector('plaudit-bell'); bell.token = token;"
        " return [bell.unread, bell.shadowRoot.textContent.includes('Olga')]; }"
    )
    bell = Bell(browser, server, "olga")
    assert bell.page.evaluate(change, server.token("olga")) == [0, False]
    bell.tell("Alice", target="post:olga", title="Only for Olga")
    bell.label("Notifications, 1 unread")
    bell.page.route("**/me/notifications*", lambda _: None)  # nobody answers from now on
    assert bell.page.evaluate(change, server.token("olga")) == [1, False], "a renewed token changes nothing"
    bell.button.click()
    bell.page.get_by_text("Only for Olga").wait_for()
    assert bell.page.evaluate(change, server.token("oscar")) == [0, False]
    assert not bell.page.get_by_role("dialog", name="Notifications").is_visible()
    bell.button.click()
    assert bell.page.locator("plaudit-bell .item").count() == 0
    bell.close()


def test_a_server_that_is_away_is_said_and_tried_again(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "otto")
    bell.label("Notifications")
    bell.page.evaluate("document.querySelector('plaudit-bell').remove()")
    bell.page.route("**/me/notifications*", lambda route: route.abort())
    bell.page.evaluate(
        "token => { const bell = document.createElement('plaudit-bell'); bell.token = token;"
        " document.querySelector('header').append(bell); }",
        server.token("otto"),
    )
    bell.button.click()
    bell.page.get_by_text("This could not be loaded.").wait_for()
    bell.page.unroute("**/me/notifications*")
    bell.page.get_by_role("button", name="Try again").click()
    bell.page.get_by_text("Nothing yet.").wait_for()
    bell.page.keyboard.press("Escape")
    assert not bell.page.get_by_role("dialog", name="Notifications").is_visible()
    bell.problems = [problem for problem in bell.problems if "ERR_FAILED" not in problem]
    bell.close()


@pytest.mark.parametrize(
    ("lang", "scheme", "width"), [("en", "light", 1000), ("de", "dark", 360), ("ar", "light", 360)]
)
def test_it_is_accessible_and_fits(
    browser: Browser, server: ServerProcess, lang: str, scheme: str, width: int, tmp_path: Path
) -> None:
    user = f"owner-{lang}"
    bell = Bell(browser, server, user, lang=lang, scheme=scheme, viewport={"width": width, "height": 700})
    bell.page.evaluate(
        "document.documentElement.dir = document.documentElement.lang === 'ar' ? 'rtl' : 'ltr'"
    )
    names = ["Alice", "Bob", "Chiara", "Dev"]
    bell.tell(*names, target=f"post:{lang}-1", title="A" * 200)
    bell.tell("Emi", target=f"post:{lang}-2", title="Loaf number eleven")
    bell.label({"de": "Benachrichtigungen, 2 ungelesen"}.get(lang, "Notifications, 2 unread"))
    bell.button.click()
    bell.page.locator("plaudit-bell .item").nth(1).wait_for()
    box = bell.page.locator("plaudit-bell .panel").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    bell.page.screenshot(path=os.environ.get("BELL_PICTURES", str(tmp_path)) + f"/bell-{lang}.png")
    sizes = bell.page.evaluate(
        "[...document.querySelector('plaudit-bell').shadowRoot.querySelectorAll('button, a')]"
        ".filter(e => e.offsetParent).map(e => e.getBoundingClientRect()).map(r => [r.width, r.height])"
    )
    assert all(w >= 44 and h >= 44 for w, h in sizes), sizes
    bell.close()


def test_pictures_come_from_where_the_page_allows(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "ovid", bypass_csp=True)
    asked: list[Request] = []

    def picture(route: Route) -> None:
        asked.append(route.request)
        route.fulfill(body=PIXEL, content_type="image/svg+xml")

    bell.page.route("**/faces/*", picture)
    pictures = {
        "ann": "/faces/ann.svg",
        "ben": "https://cdn.example/faces/ben.svg",
        "cy": "//x.example/faces/c",
    }
    people = [{"id": name, "name": name, "avatar_url": url} for name, url in pictures.items()]
    page = {
        "unread": 0,
        "next_cursor": None,
        "notifications": [told(one["id"], sample=[one]) for one in people],
    }
    bell.page.route("**/me/notifications?*", lambda route: route.fulfill(json=page))
    bell.button.click()
    letters = bell.page.locator("plaudit-bell span.picture")
    expect(bell.page.locator("plaudit-bell img")).to_have_count(1)
    assert letters.all_inner_texts() == ["B", "C"]
    bell.page.evaluate(
        "document.querySelector('plaudit-bell').setAttribute('pictures', 'https://cdn.example')"
    )
    bell.page.keyboard.press("Escape")
    bell.button.click()
    expect(bell.page.locator("plaudit-bell img")).to_have_count(2)
    assert letters.all_inner_texts() == ["C"]
    bell.page.wait_for_function(LOADED)
    urls = {request.url for request in asked}
    assert urls == {f"{server.url}/faces/ann.svg", "https://cdn.example/faces/ben.svg"}
    assert [request for request in asked if "referer" in request.headers] == []
    bell.close()


def test_who_is_on_a_message_stays_on_it(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "olaf", attributes='link="/posts/{target}"')
    inbox = Inbox(bell, [told("m1"), told("m2")])
    bell.look()
    bell.button.click()
    items = bell.page.locator("plaudit-bell .item")
    items.nth(1).focus()
    with bell.page.expect_response(lambda answer: answer.status == 304):
        bell.look()
    assert bell.page.evaluate(FOCUSED).startswith("A\nAnn reacted (m2)")
    inbox.messages.insert(0, told("m0", read=False))
    bell.look()
    expect(items).to_have_count(3)
    assert "(m0)" in items.first.inner_text()
    inbox.messages[2] = told("m2", text="Ann and Ben reacted (m2)", target_id="post:2")
    bell.look()
    expect(items.nth(2)).to_contain_text("Ann and Ben")
    expect(items.nth(2)).to_have_attribute("href", "/posts/post%3A2")
    del inbox.messages[1]
    bell.look()
    expect(items).to_have_count(2)
    inbox.messages.reverse()
    bell.look()
    expect(items.nth(1)).to_contain_text("(m0)")
    assert "Ann and Ben" in bell.page.evaluate(FOCUSED)
    del inbox.messages[0]
    bell.look()
    expect(items).to_have_count(1)
    bell.page.keyboard.press("Escape")
    assert not bell.page.get_by_role("dialog", name="Notifications").is_visible()
    bell.problems = [problem for problem in bell.problems if "304" not in problem]
    bell.close()


@pytest.mark.parametrize("size", [(390, 700), (740, 320), (1200, 800)])
@pytest.mark.parametrize("foot", [False, True])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_the_inbox_is_on_the_screen(
    browser: Browser, server: ServerProcess, size: tuple[int, int], foot: bool, direction: str
) -> None:
    """At the head or the foot of a page, at its end, in a box that cuts off what leaves it."""
    width, height = size
    bell = Bell(browser, server, "odo", viewport={"width": width, "height": height})
    Inbox(bell, [told(f"m{n}", read=False) for n in range(20)])
    bell.look()
    bell.page.evaluate(PLACE, [foot, direction])
    bell.button.click()
    expect(bell.page.locator("plaudit-bell .item")).to_have_count(20)
    box, at = bell.page.locator("plaudit-bell .panel").bounding_box(), bell.button.bounding_box()
    assert box
    assert at
    assert 0 <= box["x"] <= box["x"] + box["width"] <= width
    assert 0 <= box["y"] <= box["y"] + box["height"] <= height
    assert box["y"] + box["height"] < at["y"] if foot else box["y"] > at["y"] + at["height"]
    for part in ("h2", ".item"):
        shown = bell.page.locator(f"plaudit-bell {part}").first
        assert shown.evaluate(SEEN), "and nothing is over it"
    bell.close()


def test_the_inbox_goes_with_its_bell(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "opie", viewport={"width": 390, "height": 700})
    bell.page.evaluate("document.body.style.blockSize = '3000px'")
    bell.button.click()
    panel = bell.page.locator("plaudit-bell .panel")
    before = panel.bounding_box()
    bell.page.evaluate("scrollTo(0, 20)")
    bell.page.wait_for_timeout(100)
    after = panel.bounding_box()
    assert before
    assert after
    assert after["y"] == before["y"] - 20
    bell.page.evaluate(
        "const bell = document.querySelector('plaudit-bell'); bell.remove(); document.body.prepend(bell)"
    )
    assert bell.button.get_attribute("aria-expanded") == "false"
    assert not panel.is_visible()
    bell.close()


def test_older_pages_are_loaded_when_asked_for(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "odette")
    for n in range(23):
        bell.api("PUT", f"/api/v1/targets/post:odette-{n}", None, {"owner_id": "odette"})
        bell.api(
            "PUT", "/api/v1/reactions", "ann", {"target_id": f"post:odette-{n}", "reaction_type": "like"}
        )
    deadline = time.monotonic() + WITHIN_S
    while bell.api("GET", "/api/v1/me/notifications", "odette")["unread"] < 23:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    bell.look()
    bell.label("Notifications, 23 unread")
    bell.button.click()
    items = bell.page.locator("plaudit-bell .item")
    items.nth(19).wait_for()
    bell.page.get_by_role("button", name="Older").click()
    items.nth(22).wait_for()
    assert items.count() == 23
    assert not bell.page.get_by_role("button", name="Older").is_visible()
    bell.close()


def test_older_ones_are_asked_for_once_and_again_when_it_failed(
    browser: Browser, server: ServerProcess
) -> None:
    bell = Bell(browser, server, "odile")
    inbox = Inbox(bell, [told(f"m{n}") for n in range(50)])
    inbox.held = []
    bell.look()
    bell.button.click()
    items = bell.page.locator("plaudit-bell .item")
    older = bell.page.get_by_role("button", name="Older")
    expect(items).to_have_count(20)
    for _ in range(2):
        older.click()
    bell.page.wait_for_timeout(100)
    assert len(inbox.held) == 1
    inbox.held[0].abort()
    failed = bell.page.locator("plaudit-bell .note")
    expect(failed).to_have_text("This could not be loaded.")
    expect(bell.page.locator("plaudit-bell .say")).to_have_text("This could not be loaded.")
    with bell.page.expect_response(lambda answer: answer.status == 304):
        bell.look()
    expect(failed).to_be_visible()
    inbox.held = None
    older.click()
    expect(items).to_have_count(40)
    expect(failed).not_to_be_visible()
    assert "(m20)" in bell.page.evaluate(FOCUSED)
    older.click()
    expect(items).to_have_count(50)
    bell.page.keyboard.press("Escape")
    bell.button.click()
    expect(items).to_have_count(20)
    older.click()
    expect(items).to_have_count(40)
    assert "(m39)" in items.last.inner_text(), "no page is left out"
    bell.problems = [problem for problem in bell.problems if not re.search("304|ERR_FAILED", problem)]
    bell.close()


def test_emoji_are_those_of_the_catalogue(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "oswin")
    Inbox(bell, [told("m1", reactions={"clap": 2, "like": 1}), told("m2", reactions={"gone": 1})])
    asked: list[Route] = []

    def catalogue(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            route.abort()
            return
        known = {"clap": "👏", "like": "👍"}
        route.fulfill(json={"reactions": [{"name": name, "emoji": emoji} for name, emoji in known.items()]})

    bell.page.route("**/catalogue", catalogue)
    bell.look()
    bell.button.click()
    emoji = bell.page.locator("plaudit-bell .when .emoji")
    expect(emoji).to_have_text(["👏👍", ""])
    assert len(asked) == 2, "again where there was no answer"
    bell.page.keyboard.press("Escape")
    bell.button.click()
    with bell.page.expect_response(lambda answer: answer.status == 304):
        bell.look()
    assert len(asked) == 2
    bell.problems = [problem for problem in bell.problems if not re.search("304|ERR_FAILED", problem)]
    bell.close()


def test_rows_wait_for_the_first_messages(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "otis")
    bell.page.route("**/me/notifications*", lambda _: None)  # no answer
    bell.page.evaluate(
        "token => { document.querySelector('plaudit-bell').token = token; }", server.token("ora")
    )
    bell.button.click()
    ghosts = bell.page.locator("plaudit-bell .ghost")
    expect(ghosts).to_have_count(3)
    colours = "row => [...row.children].map(part => getComputedStyle(part).color)"
    assert len(set(ghosts.first.evaluate(colours))) == 1, "of the text, on which both show"
    bell.page.unroute("**/me/notifications*")
    Inbox(bell, [told("m1")])
    bell.look()
    expect(bell.page.locator("plaudit-bell li")).to_have_count(1)
    bell.page.evaluate("document.querySelector('plaudit-bell').token = null")
    bell.button.click()
    bell.page.get_by_text("Nothing yet.").wait_for()
    assert ghosts.count() == 0, "nothing comes for nobody"
    bell.close()


def test_one_function_that_gives_another_users_token(browser: Browser, server: ServerProcess) -> None:
    """The page is not loaded anew: Oda signs out, Odin signs in, and then nobody is there."""
    bell = Bell(browser, server, "oda")
    bell.tell("Alice", target="post:oda", title="Only for Oda")
    bell.label("Notifications, 1 unread")
    bell.page.evaluate(
        "token => { window.token = token; window.asked = [];"
        " window.ask = async ({renew}) => { window.asked.push(renew); return window.token; };"
        " document.querySelector('plaudit-bell').token = window.ask; }",
        server.token("oda"),
    )
    bell.label("Notifications, 1 unread")
    with bell.page.expect_response(lambda answer: answer.status == 304, timeout=WITHIN_S * 1000):
        pass
    assert bell.page.evaluate("window.asked") == [False], "not for every look"
    bell.page.evaluate("token => { window.token = token; }", server.token("odin"))
    bell.page.evaluate("() => { window.bell = document.querySelector('plaudit-bell'); }")
    set_again = "() => { bell.token = ask; return bell.unread; }"
    with bell.page.expect_response("**/me/notifications?limit=20", timeout=WITHIN_S * 1000) as answered:
        assert bell.page.evaluate(set_again) == 0, "at once"
    assert "if-none-match" not in answered.value.request.headers
    assert server.token("odin").split(".")[1][:20] in answered.value.request.headers["authorization"]
    assert bell.page.evaluate("window.asked") == [False, True]
    bell.page.evaluate("() => { window.token = null; }")
    assert bell.page.evaluate(set_again) == 0
    bell.page.wait_for_function("() => window.asked.length === 3")
    asked = len(bell.asked)
    bell.look()
    bell.button.click()
    bell.page.wait_for_timeout(200)
    assert len(bell.asked) == asked, "nobody is signed in"
    bell.close()


def test_the_same_user_keeps_what_is_open(browser: Browser, server: ServerProcess) -> None:
    """Who says again that the same user is there takes nothing away; until it is known nothing is seen."""
    bell = Bell(browser, server, "otto")
    bell.tell("Alice", target="post:otto", title="Only for Otto")
    bell.page.evaluate(
        "token => { const bell = document.querySelector('plaudit-bell'); window.told = [];"
        " window.ask = async () => { await window.hold; return token; }; bell.token = ask; window.bell = bell; }",
        server.token("otto"),
    )
    bell.label("Notifications, 1 unread")
    bell.button.click()
    message = bell.page.get_by_text("Only for Otto")
    message.wait_for()
    bell.label("Notifications")
    bell.tell("Bob", target="post:otto2", title="Also for Otto")
    bell.page.get_by_text("Also for Otto").wait_for()
    bell.label("Notifications")
    bell.page.evaluate(
        "() => { window.hold = new Promise(resolve => { window.release = resolve; });"
        " bell.addEventListener('plaudit-unread', event => told.push(event.detail.unread)); bell.token = ask; }"
    )
    message.wait_for(state="hidden")
    assert bell.page.evaluate("bell.open")
    bell.page.evaluate("() => release()")
    message.wait_for()
    assert bell.page.evaluate("[bell.open, told]") == [True, []]
    bell.close()


def test_escape_leaves_the_dialog_around_it_open(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "olivia")
    bell.page.evaluate(IN_DIALOG)
    bell.button.click()
    panel = bell.page.get_by_role("dialog", name="Notifications")
    expect(panel).to_be_visible()
    bell.page.keyboard.press("Escape")
    expect(panel).not_to_be_visible()
    assert bell.page.evaluate("document.querySelector('dialog').open")
    bell.close()


# It goes into a dialog of the page, which opens.
IN_DIALOG = """() => {
  const dialog = document.createElement("dialog");
  dialog.append(document.querySelector("plaudit-bell"));
  document.body.append(dialog);
  dialog.showModal();
}"""
