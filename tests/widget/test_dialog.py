"""The list of those who reacted: tabs, pages, keyboard, and names that mean harm."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Route

from tests.support.api import fresh
from tests.widget.board import Board, Service, middle

pytestmark = pytest.mark.browser

Open = Callable[..., Board]

REACTORS = 75
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</span><script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "\u202egnp.exe",
    "${alert(1)}{{7*7}}",
    "x" * 200,
    "a\u0301" * 50,
]


def open_dialog(one: Board, target: str) -> None:
    one.bar(target).locator(".count").click()
    one.bar(target).locator(".dialog").wait_for()


def test_tabs_and_pages(board: Open, service: Service, target: str) -> None:
    for number in range(REACTORS):
        service.tap(f"r{number}", target, "love" if number % 25 == 0 else "like")
    one = board().open([target], "alice").ready()
    open_dialog(one, target)
    dialog = one.bar(target).locator(".dialog")
    names = dialog.locator(".reactor:not(.ghost) .name")
    names.first.wait_for()
    assert [tab.get_attribute("aria-label") for tab in dialog.locator(".tab").all()] == [
        "All 75",
        "Like 72",
        "Love 3",
    ]

    def all_there() -> bool:
        """Scroll to the end, which is further away with each page that comes."""
        dialog.locator(".list").evaluate("list => list.scrollTo(0, list.scrollHeight)")
        return names.count() == REACTORS

    one.wait(all_there)
    assert len(set(names.all_inner_texts())) == REACTORS
    assert names.first.inner_text() == "\u2068r74\u2069"
    assert not dialog.locator(".grow").is_visible()
    dialog.locator(".tab").nth(2).click()
    one.wait(lambda: names.all_inner_texts() == [f"\u2068r{number}\u2069" for number in (50, 25, 0)])
    asked = [sent.url for sent in one.requests if "/reactors" in sent.url]
    assert len(asked) == 4
    one.page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert one.bar(target).evaluate("bar => bar.shadowRoot.activeElement.className") == "count"


def test_the_keyboard_moves_between_tabs(board: Open, service: Service, target: str) -> None:
    for user, reaction in (("bob", "love"), ("emi", "like"), ("carol", "like")):
        service.tap(user, target, reaction)
    one = board().open([target], "alice").ready()
    one.bar(target).locator(".count").focus()
    one.page.keyboard.press("Enter")
    dialog = one.bar(target).locator(".dialog")
    dialog.wait_for()
    keyboard, focused = one.page.keyboard, "bar => bar.shadowRoot.activeElement.ariaLabel"
    assert one.bar(target).evaluate(focused) == "All 3"
    keyboard.press("Alt+End")  # is not for the dialog
    keyboard.press("ArrowRight")
    assert one.bar(target).evaluate(focused) == "Like 2"
    keyboard.press("End")
    assert one.bar(target).evaluate(focused) == "Love 1"
    names = dialog.locator(".reactor:not(.ghost) .name")
    one.wait(lambda: names.all_inner_texts() == ["\u2068Bob Okafor\u2069"])
    keyboard.press("ArrowRight")
    assert one.bar(target).evaluate(focused) == "All 3"
    assert dialog.locator(".tab[tabindex='0']").count() == 1
    keyboard.press("Tab")
    assert one.bar(target).evaluate(focused) == "Close"
    keyboard.press("Tab")
    assert one.bar(target).evaluate("bar => bar.shadowRoot.activeElement.className") == "list", "to scroll it"
    one.page.mouse.click(3, 3)
    dialog.wait_for(state="detached")


def hostile() -> list[dict[str, object]]:
    """Reactors as no service of ours would let them in; a proxy between might."""
    pictures = [
        "https://tracker.example/pixel.png",
        "javascript:alert(1)",
        "data:image/svg+xml,<svg onload=alert(1)>",
        "/demo/nothing.png",
        "//tracker.example/pixel.png",
        "http://[",
        None,
    ]
    return [
        {
            "user": {"id": f"h{number}", "name": name, "avatar_url": picture},
            "reaction": "<b>like</b>" if number else "like",
            "reacted_at": "never" if number else "2026-01-01T00:00:00Z",
        }
        for number, (name, picture) in enumerate(zip(HOSTILE, pictures, strict=True))
    ]


def test_names_are_text_and_pictures_from_elsewhere_are_not_loaded(
    board: Open, service: Service, target: str
) -> None:
    service.tap("bob", target)
    page = {"reactors": hostile(), "next_cursor": None, "total": len(HOSTILE)}
    one = board()
    one.failures_expected = True  # a picture that is not there

    def feed(route: Route) -> None:
        answer = route.fetch().json()
        sample = [reactor["user"] for reactor in hostile()[:2]]
        answer["targets"][target]["summary"] = {"text": HOSTILE[0], "sample": sample, "others": 0}
        route.fulfill(json=answer)

    one.page.route("**/reactors?*", lambda route: route.fulfill(json=page))
    one.page.route("**/reactions/feed", feed)
    one.open([target], "alice").ready()
    assert one.bar(target).locator(".sentence").inner_text() == f"\u2068{HOSTILE[0]}\u2069"
    open_dialog(one, target)
    rows = one.bar(target).locator(".reactor:not(.ghost)")
    one.wait(lambda: rows.count() == len(HOSTILE))
    shown = [row.locator(".name").inner_text() for row in rows.all()]
    assert shown[:3] == [f"\u2068{name}\u2069" for name in HOSTILE[:3]]
    assert shown[3] == "\u2068gnp.exe\u2069", "a name cannot turn the text around it"
    assert len(shown[5]) < 50
    one.wait(lambda: one.bar(target).locator(".reactor img").count() == 0)
    assert one.page.locator("script").count() == 1


def test_a_list_that_cannot_be_loaded_says_so_and_tries_again(
    board: Open, service: Service, target: str
) -> None:
    service.tap("bob", target)
    one = board()
    one.failures_expected = True
    one.open([target], "alice").ready()
    one.page.route("**/reactors?*", lambda route: route.abort())
    open_dialog(one, target)
    alert = one.bar(target).locator(".word")
    alert.wait_for()
    assert alert.inner_text() == "The list cannot be loaded now."
    one.page.unroute("**/reactors?*")
    one.bar(target).locator(".grow").click()
    one.wait(lambda: one.bar(target).locator(".reactor:not(.ghost)").count() == 1)


def test_a_list_whose_module_does_not_come_says_so(board: Open, service: Service, target: str) -> None:
    service.tap("bob", target)
    one = board()
    one.failures_expected = True
    one.page.route("**/dialog.js", lambda route: route.abort())
    one.open([target], "alice").ready()
    one.bar(target).locator(".count").click()
    note = one.bar(target).locator(".note")
    note.wait_for()
    assert note.inner_text() == "That did not work."


def test_a_stranger_may_look(board: Open, service: Service, target: str) -> None:
    service.tap("bob", target, "love")
    one = board().open([target]).ready()
    open_dialog(one, target)
    one.wait(lambda: one.bar(target).locator(".name").all_inner_texts() == ["\u2068Bob Okafor\u2069"])


def test_two_clicks_open_one_dialog_however_slow_it_comes(board: Open, service: Service, target: str) -> None:
    service.tap("bob", target)
    one = board()
    held: list[Route] = []
    one.page.route("**/dialog.js", lambda route: held.append(route))
    one.open([target], "alice").ready()
    count = one.bar(target).locator(".count")
    count.click()
    one.wait(lambda: len(held) == 1)
    count.click()
    held[0].continue_()
    dialogs = one.bar(target).locator("dialog")
    dialogs.first.wait_for()
    one.page.wait_for_timeout(100)
    assert dialogs.count() == 1
    one.page.keyboard.press("Escape")
    dialogs.first.wait_for(state="detached")
    x, y = middle(count)
    one.page.mouse.dblclick(x, y, delay=30)
    dialogs.first.wait_for()
    one.page.wait_for_timeout(100)
    assert dialogs.count() == 1, "the second click of two is not one beside it"
    one.page.mouse.click(3, 3)
    dialogs.first.wait_for(state="detached")


def test_a_selection_that_ends_beside_the_dialog_leaves_it(
    board: Open, service: Service, target: str
) -> None:
    service.tap("bob", target)
    one = board().open([target], "alice").ready()
    open_dialog(one, target)
    name = one.bar(target).locator(".reactor:not(.ghost) .name")
    name.wait_for()
    x, y = middle(name)
    one.page.mouse.move(x, y)
    one.page.mouse.down()
    one.page.mouse.move(5, y, steps=4)
    one.page.mouse.up()
    one.page.wait_for_timeout(100)
    assert one.bar(target).locator("dialog").count() == 1


def test_the_dialog_is_on_its_way_before_the_click(board: Open, service: Service, target: str) -> None:
    service.tap("bob", target)
    one = board().open([target], "alice").ready()

    def asked() -> bool:
        return any(sent.url.endswith("/dialog.js") for sent in one.requests)

    one.main(target).hover()
    assert not asked()
    one.bar(target).locator(".count").hover()
    one.wait(asked)


@pytest.mark.parametrize("how", ["moved", "another target"])
def test_a_list_ends_when_its_bar_is_moved_or_reused(
    board: Open, service: Service, target: str, how: str
) -> None:
    other = fresh("post:")
    service.tap("bob", target, "wow")
    service.tap("emi", other)
    one = board().open([target, fresh("post:")], "alice").ready()
    open_dialog(one, target)
    now = target if how == "moved" else other
    one.bar(target).evaluate(
        "(bar, now) => now === bar.target ? document.querySelector('main').prepend(bar) : void (bar.target = now)",
        now,
    )
    dialog = one.bar(now).locator(".dialog")
    dialog.wait_for(state="detached")
    one.until(now, None, 1)
    open_dialog(one, now)
    name = {target: "\u2068Bob Okafor\u2069", other: "\u2068Emi Tanaka\u2069"}[now]
    one.wait(lambda: dialog.locator(".reactor:not(.ghost) .name").all_inner_texts() == [name])
