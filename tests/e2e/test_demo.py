"""The demo page in a real Chromium, against a real server."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, sync_playwright

from plaudit.services.demo import TARGETS, USERS
from tests.e2e.visit import Visit, stored
from tests.support.server import ServerProcess

pytestmark = pytest.mark.browser

ALICE, BOB, HUGO = "demo-alice", "demo-bob", "demo-hugo"
LAKE, TEA, TRAIL = "demo:lake", "demo:lake-tea", "demo:lake-trail"
BREAD, CAT, BUS, VOTE, MESSAGE = "demo:bread", "demo:cat", "demo:bus", "demo:vote", "demo:message"

Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = playwright.chromium.launch(executable_path=chromium, args=args)
        yield running
        running.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[ServerProcess]:
    """One server for the tests of this module; each uses a user and target of its own."""
    assert chromium
    with ServerProcess(tmp_path_factory.mktemp("demo") / "data", demo=True) as running:
        yield running
        assert '"level": "error"' not in running.log


@pytest.fixture
def open_page(browser: Browser, shared: ServerProcess) -> Iterator[Open]:
    visits: list[Visit] = []

    def open_one(user: str = ALICE, server: ServerProcess | None = None, **options: Any) -> Visit:
        visits.append(Visit(server or shared, browser.new_context(**options)))
        return visits[-1].open(user)

    yield open_one
    for visit in visits:
        visit.close()


def test_the_feed_is_there(open_page: Open) -> None:
    visit = open_page()
    assert visit.page.locator("input[name=user]").count() == len(USERS)
    assert visit.page.locator("article").count() == len(TARGETS)
    pictures = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth > 0)))"
    assert all(visit.page.evaluate(pictures))
    assert visit.state(BUS)["reactions"] == {"sad": 2, "angry": 2}
    summary = visit.card(BUS).locator(".who").inner_text()
    assert summary.startswith("Bob Okafor, Farid Haddad and 2 others")
    assert visit.card(CAT).locator(".who").inner_text().startswith("You, ")
    asked = [sent.url for sent in visit.requests if sent.url.endswith("/reactions/feed")]
    assert len(asked) == 1, "one request for all targets"


def test_a_reaction_shows_before_the_answer_and_stays(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page()
    before = visit.state(LAKE)
    held = visit.hold()
    # Pressed and looked at without a turn of the event loop in between.
    same_frame = visit.main(LAKE).evaluate(
        "button => { button.click(); return [button.ariaPressed, button.closest('article').dataset.total]; }"
    )
    assert same_frame == ["true", str(before["total"] + 1)]
    assert visit.state(LAKE)["reactions"]["like"] == before["reactions"]["like"] + 1
    assert visit.card(LAKE).locator("> .reacts .who").inner_text().startswith("You, ")
    visit.page.wait_for_function("() => document.querySelector('.bar[data-waiting=true]')")
    assert stored(shared, ALICE, LAKE)["own"] is None
    visit.let_go()
    held[0].continue_()
    visit.until(LAKE, "like", before["total"] + 1)
    assert visit.state(LAKE) == stored(shared, ALICE, LAKE)
    visit.reload()
    assert visit.state(LAKE) == stored(shared, ALICE, LAKE)


def test_each_user_has_an_own_state(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page("demo-emi")
    total = visit.state(BUS)["total"]
    visit.pick(BUS, "wow")
    visit.until(BUS, "wow", total + 1)
    visit.become("demo-grace")
    assert visit.state(BUS) == stored(shared, "demo-grace", BUS)
    assert (visit.state(BUS)["own"], visit.state(BUS)["total"]) == (None, total + 1)
    visit.reload()
    assert visit.page.locator("input[name=user]:checked").get_attribute("value") == "demo-grace"
    visit.become("demo-emi")
    assert visit.state(BUS)["own"] == "wow"


def test_a_wish_is_kept_when_the_user_is_switched_at_once(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page("demo-dev")
    total = visit.state(TEA)["total"]
    held = visit.hold()
    visit.main(TEA).click()
    visit.become("demo-farid")
    assert visit.state(TEA)["own"] is None
    visit.let_go()
    held[0].continue_()
    visit.page.wait_for_function(
        "([target, total]) => document.querySelector(`[data-target='${target}']`).dataset.total === total",
        arg=[TEA, str(total + 1)],
    )
    assert stored(shared, "demo-dev", TEA)["own"] == "like"
    assert stored(shared, "demo-farid", TEA)["own"] is None


def test_switch_and_remove(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page(BOB)
    total = visit.state(CAT)["total"]
    assert visit.state(CAT)["own"] == "love"
    visit.pick(CAT, "sad")
    visit.until(CAT, "sad", total)
    assert visit.state(CAT) == stored(shared, BOB, CAT)
    visit.main(CAT).click()
    visit.until(CAT, None, total - 1)
    assert visit.main(CAT).inner_text().endswith("Sad"), "the last used one is offered again"
    visit.main(CAT).click()
    visit.until(CAT, "sad", total)
    visit.pick(CAT, "sad")
    visit.until(CAT, None, total - 1)
    assert visit.state(CAT) == stored(shared, BOB, CAT)


def test_the_granted_message_takes_reactions(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page()
    total = visit.state(MESSAGE)["total"]
    visit.pick(MESSAGE, "haha")
    visit.until(MESSAGE, "haha", total + 1)
    assert visit.state(MESSAGE) == stored(shared, ALICE, MESSAGE)


def test_the_closed_post_rolls_back_and_says_why(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page()
    visit.failures_expected = True
    before = visit.state(VOTE)
    visit.main(VOTE).click()
    assert "closed" in visit.toast()
    visit.until(VOTE, None, before["total"])
    assert visit.state(VOTE) == before == stored(shared, ALICE, VOTE)
    assert visit.page.locator("#toast").get_attribute("role") == "status"
    visit.become(HUGO)
    visit.main(VOTE).click()
    visit.until(VOTE, None, before["total"] - 1)
    assert stored(shared, HUGO, VOTE)["own"] is None


def test_furious_clicking_ends_in_what_the_server_has(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page("demo-chiara")
    before = visit.state(TRAIL)
    under_way = 0
    most = 0

    def started(sent: Any) -> None:
        nonlocal under_way, most
        under_way += sent.method == "PUT"
        most = max(most, under_way)

    def ended(sent: Any) -> None:
        nonlocal under_way
        under_way -= sent.method == "PUT"

    visit.page.on("request", started)
    visit.page.on("requestfinished", ended)
    for _ in range(20):
        visit.main(TRAIL).click()
    visit.until(TRAIL, None, before["total"])
    assert stored(shared, "demo-chiara", TRAIL) == visit.state(TRAIL) == before
    for _ in range(7):
        visit.main(TRAIL).click()
    visit.until(TRAIL, "like", before["total"] + 1)
    assert stored(shared, "demo-chiara", TRAIL) == visit.state(TRAIL)
    assert most == 1, "one request per target at a time"
    keys = [key for _, key in visit.taps()]
    assert len(set(keys)) == len(keys)


def test_while_one_request_is_under_way_only_the_newest_wish_follows(open_page: Open) -> None:
    visit = open_page("demo-grace")
    total = visit.state(LAKE)["total"]
    held = visit.hold()
    visit.pick(LAKE, "sad")
    for reaction in ("wow", "angry", "haha"):
        visit.pick(LAKE, reaction)
    assert visit.state(LAKE)["own"] == "haha"
    assert len(visit.taps()) == 1
    visit.let_go()
    held[0].continue_()
    visit.until(LAKE, "haha", total)
    assert [reaction for reaction, _ in visit.taps()] == ["sad", "haha"]


def test_counts_that_overtake_the_answer_are_not_added_twice(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page("demo-hugo")
    before = visit.state(BREAD)
    assert before["own"] == "like"
    committed: list[tuple[Route, Any]] = []
    visit.take(lambda route: committed.append((route, route.fetch())))
    with visit.page.expect_response(lambda answer: "/counts?" in answer.url and newer(answer, BREAD)):
        visit.pick(BREAD, "angry")
    assert stored(shared, "demo-hugo", BREAD)["own"] == "angry"
    shown = visit.state(BREAD)
    assert (shown["own"], shown["total"], shown["reactions"]["angry"]) == ("angry", before["total"], 1)
    [(route, answer)] = committed
    visit.let_go()
    route.fulfill(response=answer)
    visit.until(BREAD, "angry", before["total"])
    assert visit.state(BREAD) == stored(shared, "demo-hugo", BREAD)


def newer(answer: Any, target: str) -> bool:
    """Whether these counts contain an "angry", which the target did not have."""
    return bool(answer.status == 200 and answer.json()["counts"][target]["reactions"]["angry"] == 1)


def test_a_lost_answer_is_asked_for_again_with_the_same_key(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page("demo-emi")
    visit.failures_expected = True
    total = visit.state(CAT)["total"]
    assert visit.state(CAT)["own"] == "love"

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    visit.take(lose_the_answer, times=1)
    with visit.page.expect_response(lambda answer: answer.request.method == "PUT") as answered:
        visit.pick(CAT, "haha")
        assert "Not saved yet" in visit.toast()
    assert answered.value.headers["idempotency-replayed"] == "true"
    visit.until(CAT, "haha", total)
    first, second = visit.taps()
    assert first == second
    assert visit.state(CAT) == stored(shared, "demo-emi", CAT)


def test_what_was_not_stored_gives_way_to_a_newer_wish(open_page: Open) -> None:
    visit = open_page("demo-farid")
    visit.failures_expected = True
    total = visit.state(CAT)["total"]
    problem = '{"title": "Too much is waiting.", "status": 503, "code": "overloaded"}'
    held = visit.hold()
    visit.pick(CAT, "sad")
    visit.pick(CAT, "wow")
    visit.let_go()
    held[0].fulfill(status=503, body=problem, content_type="application/problem+json")
    assert "Not saved yet" in visit.toast()
    visit.until(CAT, "wow", total)
    (first, first_key), (second, second_key) = visit.taps()
    assert (first, second) == ("sad", "wow")
    assert first_key != second_key


@pytest.mark.parametrize("how", ["SIGTERM", "kill -9"])
def test_the_counts_survive_the_server(open_page: Open, tmp_path: Path, how: str) -> None:
    with ServerProcess(tmp_path / "data", demo=True) as server:
        visit = open_page(server=server)
        visit.failures_expected = True
        total = visit.state(LAKE)["total"]
        visit.pick(LAKE, "love")
        visit.until(LAKE, "love", total + 1)
        server.kill() if how == "kill -9" else server.stop()
        visit.pick(BUS, "sad")
        assert "Not saved yet" in visit.toast()
        visit.page.wait_for_selector("#link[data-state=down]")
        server.start()
        visit.until(BUS, "sad", 5)
        visit.page.wait_for_selector("#link[data-state=up]")
        for target, own in ((LAKE, "love"), (BUS, "sad")):
            assert visit.state(target)["own"] == own
            assert visit.state(target) == stored(server, ALICE, target)
        visit.reload()
        assert visit.state(LAKE) == stored(server, ALICE, LAKE)
        assert visit.state(LAKE)["total"] == total + 1


def test_another_window_sees_it_soon(open_page: Open) -> None:
    here, there = open_page(), open_page("demo-chiara")
    total = here.state(MESSAGE)["total"]
    there.pick(MESSAGE, "love")
    here.page.wait_for_function(
        "([target, text]) => document.querySelector(`[data-target='${target}'] .who`).textContent.includes(text)",
        arg=[MESSAGE, "Chiara Rossi"],
    )
    assert here.state(MESSAGE)["total"] == total + 1


def test_who_reacted_page_by_page(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page("demo-emi")
    page = visit.page
    counts = stored(shared, "demo-emi", BREAD)
    visit.card(BREAD).locator(".who").click()
    page.wait_for_selector("#people-list[aria-busy=false] li")
    names = page.locator("#people-list .name")
    assert names.count() == 5 < counts["total"]
    page.locator("#people-more").click()
    page.wait_for_selector("#people-more", state="hidden")
    found = names.all_inner_texts()
    assert len(found) == len(set(found)) == counts["total"]
    page.locator("#people-filters button[data-type=love]").click()
    page.wait_for_function(
        "n => document.querySelectorAll('#people-list li').length === n", arg=counts["reactions"]["love"]
    )
    page.keyboard.press("Escape")
    assert not page.locator("#people").is_visible()
    assert page.evaluate("document.activeElement.className") == "who"


def test_by_keyboard_alone(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page()
    keys, page = visit.page.keyboard, visit.page
    total = visit.state(BUS)["total"]
    focused = "document.activeElement.dataset.reaction ?? document.activeElement.className"
    page.locator("input[name=user]:checked").focus()
    keys.press("ArrowRight")
    visit.settled()
    assert page.locator("input[name=user]:checked").get_attribute("value") == BOB
    keys.press("ArrowLeft")
    visit.settled()
    for _ in range(40):
        keys.press("Tab")
        if page.evaluate("document.activeElement.closest('article')?.dataset.target") == BUS:
            break
    assert page.evaluate("document.activeElement.className") == "main"
    visit.card(BUS).locator(".picker").wait_for(state="visible")
    keys.press("Escape")
    assert not visit.card(BUS).locator(".picker").is_visible()
    keys.press("ArrowUp")
    assert page.evaluate(focused) == "like"
    keys.press("ArrowLeft")
    assert page.evaluate(focused) == "angry"
    keys.press("Home")
    keys.press("ArrowRight")
    assert page.evaluate(focused) == "love"
    keys.press("Enter")
    visit.until(BUS, "love", total + 1)
    assert not visit.card(BUS).locator(".picker").is_visible()
    assert page.evaluate("document.activeElement.className") == "main"
    keys.press("Space")
    visit.until(BUS, None, total)
    assert visit.state(BUS) == stored(shared, ALICE, BUS)


def test_by_touch_a_long_press_opens_the_picker(open_page: Open) -> None:
    visit = open_page("demo-dev", has_touch=True, is_mobile=True, viewport={"width": 360, "height": 740})
    before = visit.state(CAT)
    main = visit.main(CAT)
    main.scroll_into_view_if_needed()
    box = main.bounding_box()
    assert box is not None
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    touch = visit.context.new_cdp_session(visit.page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    visit.card(CAT).locator(".picker").wait_for(state="visible")
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert visit.state(CAT) == before, "the press itself is no reaction"
    visit.choice(CAT, "angry").tap()
    visit.until(CAT, "angry", before["total"] + 1)
    visit.main(CAT).tap()
    visit.until(CAT, None, before["total"])


@pytest.mark.parametrize("width", [320, 360, 900])
def test_everything_fits_and_can_be_hit(open_page: Open, width: int) -> None:
    visit = open_page(viewport={"width": width, "height": 700})
    page = visit.page
    for target in TARGETS:
        visit.card(target.id).locator("> .reacts .more").click()
        boxes = (
            visit.card(target.id)
            .locator("> .reacts .choice")
            .evaluate_all(
                "all => all.map(one => one.getBoundingClientRect()).map(box => [box.left, box.right])"
            )
        )
        assert min(left for left, _ in boxes) >= 0
        assert max(right for _, right in boxes) <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        small = page.evaluate(
            "[...document.querySelectorAll('button, .user')].filter(one => one.checkVisibility())"
            ".filter(one => one.offsetWidth < 44 || one.offsetHeight < 44).map(one => one.outerHTML)"
        )
        assert small == []
        page.keyboard.press("Escape")
