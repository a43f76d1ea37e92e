"""The inbox of `<plaudit-bell>` in a real Chromium: rows, pictures, emoji, older pages, and its place on the screen."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Request, Route, expect

from tests.support.bell import FOCUSED, WITHIN_S, Bell, Inbox, bell_server, told
from tests.support.server import ServerProcess

pytestmark = pytest.mark.browser

PIXEL = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
LOADED = """() => [...document.querySelector("plaudit-bell").shadowRoot.querySelectorAll("img")]
  .every(picture => picture.naturalWidth)"""


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[ServerProcess]:
    assert chromium
    with bell_server(tmp_path_factory.mktemp("bell")) as running:
        yield running


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
    expect(letters).to_have_text(["B", "C"])
    bell.page.evaluate(
        "document.querySelector('plaudit-bell').setAttribute('pictures', 'https://cdn.example')"
    )
    bell.page.keyboard.press("Escape")
    bell.button.click()
    expect(bell.page.locator("plaudit-bell img")).to_have_count(2)
    expect(letters).to_have_text(["C"])
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
    assert before
    deadline = time.monotonic() + WITHIN_S
    while (after := panel.bounding_box()) is None or after["y"] != before["y"] - 20:
        assert time.monotonic() < deadline, (before, after)
        bell.page.wait_for_timeout(20)
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
    deadline = time.monotonic() + WITHIN_S
    while not inbox.held:
        assert time.monotonic() < deadline
        bell.page.wait_for_timeout(20)
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


def test_its_language_is_that_of_what_is_around_it(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "orla")
    bell.label("Notifications")
    label = """() => {
      const around = Object.assign(document.createElement("div"), {lang: "de"});
      const bell = document.querySelector("plaudit-bell");
      around.attachShadow({mode: "open"}).append(bell);
      document.body.append(around);
      return bell.shadowRoot.querySelector(".bell").ariaLabel;
    }"""
    assert bell.page.evaluate(label) == "Benachrichtigungen"
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
