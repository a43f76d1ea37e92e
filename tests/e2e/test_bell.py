"""`<plaudit-bell>` in a real Chromium on a page of its own, against a real server: counts, tokens, users, failures."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.bell import WITHIN_S, Bell, bell_server
from tests.support.server import ServerProcess

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[ServerProcess]:
    assert chromium
    with bell_server(tmp_path_factory.mktemp("bell")) as running:
        yield running


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


def test_null_is_nobodys_though_there_is_a_token_beside_it(browser: Browser, server: ServerProcess) -> None:
    bell = Bell(browser, server, "odile")
    bell.tell("Alice", target="post:odile", title="Only for Odile")
    bell.label("Notifications, 1 unread")
    of = "document.querySelector('plaudit-bell')"
    bell.page.evaluate(f"token => {of}.setAttribute('token', token)", server.token("odile"))
    bell.page.evaluate(f"{of}.token = null")
    assert bell.page.evaluate(f"[{of}.token, {of}.unread]") == [None, 0]
    asked = len(bell.asked)
    bell.button.click()
    bell.page.wait_for_timeout(300)
    assert bell.asked[asked:] == []
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
