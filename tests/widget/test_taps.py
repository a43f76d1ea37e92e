"""Tapping: shown at once, sent as a wish, settled with the service, whatever the network does."""

import random
import time
from collections.abc import Callable
from itertools import groupby, pairwise

import pytest
from playwright.sync_api import Route, expect

from tests.support.api import fresh
from tests.support.server import ServerProcess
from tests.widget.board import Board, Service

pytestmark = pytest.mark.browser

Open = Callable[..., Board]

WISHES = 25

# Pressed and looked at without a turn of the event loop in between.
PRESSED = "button => { button.click(); return [button.ariaPressed, button.getRootNode().host.counts.total]; }"


def test_a_tap_shows_before_it_is_sent_and_stays(board: Open, service: Service, target: str) -> None:
    service.tap("bob", target, "love")
    one = board().open([target], "alice").ready()
    held: list[Route] = []
    one.on_taps(lambda route: held.append(route))
    assert one.main(target).evaluate(PRESSED) == ["true", 2]
    one.wait(lambda: len(held) == 1)
    assert one.bar(target).evaluate("bar => bar.pending") is True
    assert service.stored("alice", target)["own"] is None
    sent = held[0].request
    assert sent.post_data_json == {"target_id": target, "reaction_type": "like", "target_type": "post"}
    assert sent.headers["plaudit-route"] == target
    assert len(sent.headers["idempotency-key"]) == 32
    held[0].continue_()
    one.until(target, "like", 2)
    assert one.shown(target) == service.stored("alice", target)


def test_a_tap_has_the_route_that_was_told_last(board: Open, service: Service, target: str) -> None:
    one = board()
    one.failures_expected = True
    newest = f"{target}/3"
    one.page.route("**/reactions/feed", lambda route: tell(route, "targets", target, newest))
    one.open([target], "alice").ready()
    answers = iter(["ok", "lost", "overloaded", "ok"])
    routes: list[str | None] = []

    def answer(route: Route) -> None:
        nonlocal newest
        routes.append(route.request.headers.get("plaudit-route"))
        match next(answers):
            case "lost":
                route.abort()
            case "overloaded":
                body = '{"code": "overloaded"}'
                route.fulfill(status=503, body=body, content_type="application/problem+json")
            case _:
                newest = f"{target}/5"
                tell(route, None, target, newest)

    one.on_taps(answer)
    for reaction in ("like", "love"):
        one.bar(target).evaluate("(bar, wish) => bar.react(wish)", reaction)
        one.until(target, reaction, 1)
    # No answer: any process may take it. Refused with a reason: the same one again.
    assert routes == [f"{target}/3", f"{target}/5", None, f"{target}/5"]
    assert service.stored("alice", target)["own"] == "love"


def tell(route: Route, inside: str | None, target: str, told: str) -> None:
    """Pass the service's answer on with another route in it."""
    answer = route.fetch()
    body = answer.json()
    (body[inside][target] if inside else body)["route"] = told
    route.fulfill(response=answer, json=body)


def test_a_bar_waits_for_the_own_reaction(board: Open, service: Service, target: str) -> None:
    """Counts of the stream may overtake the feed. A bar that showed them would offer to give what is given."""
    service.tap("alice", target, "love")
    other, held = fresh("post:"), list[Route]()
    asked_s = list[float]()
    one = board()

    def hold(route: Route) -> None:
        if target in (route.request.post_data or ""):
            held.append(route)
            asked_s.append(time.monotonic())
        else:
            route.continue_()

    one.page.route("**/reactions/feed", hold)
    one.open([target], "alice").live()
    one.add([other], token=one.bar(target).get_attribute("token") or "")
    one.until(other, None, 0)
    service.tap("bob", other)
    one.until(other, None, 1)  # by the stream, which told of the first target before
    assert one.bar(target).evaluate("bar => bar.counts") is None
    assert not one.main(target).is_visible()
    again = [at_s - asked_s[0] for at_s in asked_s[1:]]
    assert all(later_s > 2 for later_s in again), "its names are on their way, and may take their time"
    one.page.unroute("**/reactions/feed")
    for route in held:
        route.continue_()
    one.until(target, "love", 1)
    one.main(target).click()
    one.until(target, None, 0)


def test_a_tap_takes_back_and_gives_the_last_used_again(board: Open, service: Service, target: str) -> None:
    one = board().open([target], "alice").ready()
    one.pick(target, "Sad")
    one.until(target, "sad", 1)
    one.main(target).click()
    one.until(target, None, 0)
    assert one.main(target).inner_text().endswith("Sad")
    one.main(target).click()
    one.until(target, "sad", 1)
    one.pick(target, "Love")
    one.until(target, "love", 1)
    one.pick(target, "Love")
    one.until(target, None, 0)
    assert one.shown(target) == service.stored("alice", target)


@pytest.mark.parametrize("seed", range(3))
def test_furious_clicking_over_a_bad_network_ends_in_what_is_seen(
    board: Open, service: Service, target: str, seed: int
) -> None:
    dice = random.Random(seed)
    service.tap("bob", target, "wow")
    one = board()
    one.failures_expected = True
    under_way = 0
    most = 0

    def bad(route: Route) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        fate = dice.choice(["good", "good", "slow", "lost before", "lost after", "503", "504"])
        if fate == "slow":
            one.page.wait_for_timeout(dice.randint(10, 300))
        under_way -= 1  # before the browser can know
        if fate == "lost before":
            route.abort()
        elif fate == "503":
            route.fulfill(status=503, body='{"code": "overloaded"}', content_type="application/problem+json")
        elif fate in {"lost after", "504"}:
            route.fetch()
            route.fulfill(status=504, body="<html>") if fate == "504" else route.abort()
        else:
            route.continue_()

    one.open([target], "alice").ready()
    one.on_taps(bad)
    names = ["like", "love", "haha", "wow", "sad", "angry", None]
    wish: str | None = None
    for _ in range(WISHES):
        wish = dice.choice(names)
        one.bar(target).evaluate("(bar, wish) => bar.react(wish)", wish)
        assert one.shown(target)["own"] == wish
        assert one.shown(target)["total"] == 1 + (wish is not None)
        if dice.random() < 0.5:
            one.page.wait_for_timeout(dice.randint(0, 60))
    one.on_taps(lambda route: route.continue_())
    one.until(target, wish, 1 + (wish is not None))
    assert one.shown(target) == service.stored("alice", target)
    assert most <= 1, "one outstanding"
    keys = [key for key, _ in groupby(key for _, key in one.taps())]
    assert len(keys) == len(set(keys)) == len(set(one.taps())), "a key is for one wish, and over with it"
    assert len(keys) <= WISHES, "and a wish has one key, however often it is sent"


def test_a_refusal_rolls_back_and_says_why(board: Open, service: Service, target: str) -> None:
    service.tap("bob", target)
    one = board()
    one.failures_expected = True
    one.open([target], "alice").ready()
    service.call("PUT", f"/targets/{target}", {"target_type": "post", "closed": True})
    one.page.evaluate("addEventListener('plaudit-refused', event => { globalThis.refusal = event.detail; })")
    one.bar(target).evaluate("bar => bar.react('like')")  # whether or not it knows already
    note = one.bar(target).locator(".note")
    note.wait_for()
    assert note.inner_text() == "Reactions are closed here."
    assert one.shown(target) == {"own": None, "total": 1, "reactions": {"like": 1}}
    assert one.page.evaluate("refusal.code") == "target_closed"
    expect(one.main(target)).to_have_attribute("aria-disabled", "true")
    sent = len(one.taps())
    one.main(target).click(force=True)
    one.page.wait_for_timeout(100)
    assert len(one.taps()) == sent, "a closed target is not asked again"


def closed_card(board: Open, service: Service, target: str) -> Board:
    """A closed target on a card that cuts off what leaves it."""
    service.call("PUT", f"/targets/{target}", {"target_type": "post", "closed": True})
    one = board(viewport={"width": 390, "height": 600}).open([target], "alice").ready()
    one.page.evaluate("document.querySelector('article').style.overflow = 'hidden'")
    return one


@pytest.mark.parametrize("part", ["react", "more"])
def test_a_closed_target_says_why_and_every_time(
    board: Open, service: Service, target: str, part: str
) -> None:
    one = closed_card(board, service, target)
    bar = one.bar(target)
    bar.evaluate(WATCH_STATUS)
    button = bar.locator(f".{part}")
    button.click(force=True)  # it is disabled, as far as aria goes
    note = bar.locator(".note")
    note.wait_for()
    assert note.inner_text() == "Reactions are closed here."
    box, card = note.bounding_box(), one.page.locator("article").bounding_box()
    assert box
    assert card
    assert box["y"] + box["height"] <= card["y"] + card["height"]
    one.page.wait_for_function("() => said.length === 1")
    button.click(force=True)
    one.page.wait_for_function("() => said.length === 2")
    assert one.page.evaluate("said") == ["Reactions are closed here."] * 2
    assert not bar.locator(".picker").is_visible()


# What a live region says: each text that comes in place of another.
WATCH_STATUS = """bar => {
  globalThis.said = [];
  const status = bar.shadowRoot.querySelector(".status");
  new MutationObserver(() => { if (status.textContent) said.push(status.textContent); })
    .observe(status, {childList: true, characterData: true, subtree: true});
}"""


def test_a_closed_target_lets_go(board: Open, service: Service, target: str) -> None:
    service.tap("alice", target, "love")
    service.call("PUT", f"/targets/{target}", {"target_type": "post", "closed": True})
    one = board().open([target], "alice").ready()
    one.main(target).click()
    one.until(target, None, 0)


def test_a_retry_has_its_key_and_waits_as_told(board: Open, service: Service, target: str) -> None:
    one = board()
    one.failures_expected = True
    one.open([target], "alice").ready()
    answers, came_s = [503, 504], list[float]()

    def later(route: Route) -> None:
        came_s.append(time.monotonic())
        if answers:
            route.fulfill(status=answers.pop(0), headers={"retry-after": "1"}, body="{}")
        else:
            route.continue_()

    one.on_taps(later)
    one.main(target).click()
    one.until(target, "like", 1)
    assert all(after - before >= 1 for before, after in pairwise(came_s))
    taps = one.taps()
    assert len(taps) == 3
    assert len(set(taps)) == 1, "the same wish with the same key"


# Seen and hidden again and again, and back online: what ends other pauses.
RESTLESS = """async () => {
  for (let times = 0; times < 5; times += 1) {
    document.dispatchEvent(new Event("visibilitychange", {bubbles: true}));
    dispatchEvent(new Event("online"));
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}"""


def test_nothing_but_the_end_of_the_page_cuts_what_the_service_asked_for(board: Open, target: str) -> None:
    one = board()
    one.failures_expected = True

    def busy(route: Route) -> None:
        headers = {"retry-after": "60", "content-type": "application/problem+json"}
        route.fulfill(status=503, headers=headers, json={"code": "overloaded"})

    one.open([target], "alice").ready()
    one.on_taps(busy)
    one.main(target).click()
    one.wait(lambda: one.bar(target).locator(".status").inner_text() == "Not saved yet. Trying again.")
    one.page.evaluate(RESTLESS)
    assert len(one.taps()) == 1
    one.page.evaluate("dispatchEvent(new Event('pagehide'))")
    one.wait(lambda: len(one.taps()) == 2)


@pytest.mark.parametrize("call", ["catalogue", "reactions/feed"])
def test_what_bars_show_is_asked_for_when_the_service_said(board: Open, target: str, call: str) -> None:
    one = board()
    one.failures_expected = True
    asked = list[str]()

    def busy(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=429, headers={"retry-after": "60"}, body="{}")

    one.page.route(f"**/api/v1/{call}", busy)
    one.open([target], "alice")
    one.wait(lambda: bool(asked))
    one.page.wait_for_timeout(200)
    one.page.evaluate(RESTLESS)
    assert len(asked) == 1


def test_a_newer_wish_takes_the_place_of_a_retry(board: Open, service: Service, target: str) -> None:
    one = board()
    one.failures_expected = True
    one.open([target], "alice").ready()
    one.on_taps(lambda route: route.abort())
    one.main(target).click()
    one.wait(lambda: len(one.taps()) >= 1)
    one.bar(target).evaluate("bar => { bar.react('love'); bar.react('wow'); }")
    one.on_taps(lambda route: route.continue_())
    one.until(target, "wow", 1)
    assert {wish for wish, _ in one.taps()} == {"like", "wow"}, "collapsed to the last"


def test_wishes_of_a_page_that_went_away_offline_are_sent_by_the_next(
    board: Open, service: Service, target: str
) -> None:
    one = board()
    one.failures_expected = True
    one.open([target], "alice").ready().live()
    one.context.set_offline(True)
    one.main(target).click()
    one.pick(target, "Haha")
    one.wait(lambda: one.page.evaluate(KEPT) == [[target, "haha"]])
    one.page.close()
    one.context.set_offline(False)
    other = board(context=one.context)
    elsewhere = fresh("post:")
    other.open([elsewhere], "alice").ready()
    other.wait(lambda: service.stored("alice", target)["own"] == "haha")
    other.wait(lambda: other.page.evaluate(KEPT) == [])


def test_being_back_online_sends_at_once(board: Open, service: Service, target: str) -> None:
    one = board()
    one.failures_expected = True
    one.open([target], "alice").ready()
    one.context.set_offline(True)
    one.main(target).click()
    one.page.wait_for_timeout(1500)
    assert one.shown(target)["own"] == "like"
    one.context.set_offline(False)
    one.until(target, "like", 1)
    assert service.stored("alice", target)["own"] == "like"


def test_a_tap_before_the_page_goes_away_counts(board: Open, service: Service, target: str) -> None:
    one = board().open([target], "alice").ready()
    one.main(target).evaluate("button => { button.click(); location.href = 'about:blank'; }")
    one.wait(lambda: service.stored("alice", target)["own"] == "like")
    one.requests = [sent for sent in one.requests if sent.url != "about:blank"]


def test_a_server_that_is_killed_and_comes_back(
    board: Open, target: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with ServerProcess(tmp_path_factory.mktemp("killed") / "data") as server:
        one = board(server)
        one.failures_expected = True
        one.open([target], "alice").ready()
        server.kill()
        one.main(target).click()
        one.page.wait_for_timeout(300)
        assert one.shown(target)["own"] == "like"
        server.start()
        one.until(target, "like", 1)
        assert Service(server).stored("alice", target)["own"] == "like"


# What is in the outbox, null if there is none.
KEPT = """() => new Promise((resolve) => {
  const asked = indexedDB.open("plaudit", 1);
  asked.onupgradeneeded = () => asked.transaction.abort();
  asked.onerror = () => resolve(null);
  asked.onsuccess = () => {
    const all = asked.result.transaction("wishes").objectStore("wishes").getAll();
    all.onsuccess = () => {
      asked.result.close();
      resolve(all.result.map(row => [row.target, row.reaction]));
    };
  };
})"""
