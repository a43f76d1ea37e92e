"""Wishes that the service has not got yet are kept on the device for who had them, and for nobody else."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Route

from tests.support.api import fresh
from tests.widget.board import Board, Service
from tests.widget.test_refused import without_targets
from tests.widget.test_taps import KEPT
from tests.widget.test_users import configure, live
from tests.widget.test_wishes import HOUR_MS, PUT

pytestmark = pytest.mark.browser

Open = Callable[..., Board]

PLACES = KEPT.replace("row => [row.target, row.reaction]", "row => row.place")
# While the outbox is being opened the host app says again who is there, and knows it only later.
SAID_AGAIN = """
  const open = IDBFactory.prototype.open, start = IDBDatabase.prototype.transaction;
  IDBFactory.prototype.open = function (...how) {
    IDBFactory.prototype.open = open;
    let known;
    globalThis.hold = new Promise(resolve => { known = resolve; });
    IDBDatabase.prototype.transaction = function (...how) {
      IDBDatabase.prototype.transaction = start;
      known();
      return start.apply(this, how);
    };
    customElements.get("plaudit-bar").configure({token: ask});
    return open.apply(this, how);
  };
"""
HELD = "() => { globalThis.hold = new Promise(resolve => { globalThis.release = resolve; }); }"
RELEASED = "() => { release(); globalThis.hold = null; }"


def kept(one: Board) -> Any:
    """What is in the outbox: targets and reactions."""
    return one.page.evaluate(KEPT)


def test_the_outbox_is_of_who_was_there_when_it_was_asked_for(board: Open, target: str) -> None:
    one = board()
    one.failures_expected = True
    one.page.add_init_script(SAID_AGAIN)
    one.open([target])
    configure(one, "alice")
    one.page.wait_for_function("() => asked.length === 2")
    live(one, target)
    one.on_taps(lambda route: route.abort())
    one.main(target).click()
    one.wait(lambda: kept(one) == [[target, "like"]])
    assert one.page.evaluate(PLACES) == [f"{one.server.url}/ alice"]


def test_there_is_an_outbox_though_it_was_asked_for_while_nobody_was_known(board: Open, target: str) -> None:
    one = board()
    one.failures_expected = True
    later: list[Route] = []
    one.page.route("**/later.js", lambda route: later.append(route))
    one.open([target])
    configure(one, "alice")
    live(one, target)
    one.wait(lambda: len(later) == 1)
    one.page.evaluate(HELD)
    configure(one, "alice")
    later[0].continue_()
    one.page.evaluate("url => import(url).then(() => {})", later[0].request.url)
    one.page.evaluate(RELEASED)
    live(one, target)
    one.on_taps(lambda route: route.abort())
    one.main(target).click()
    one.wait(lambda: kept(one) == [[target, "like"]])


def test_what_was_given_before_the_outbox_came_is_kept_when_the_user_changes(
    board: Open, service: Service, target: str
) -> None:
    one = board()
    one.failures_expected = True
    later: list[Route] = []
    one.page.route("**/outbox.js", lambda route: later.append(route))
    one.open([target])
    configure(one, "alice")
    live(one, target)
    one.on_taps(lambda route: route.abort())
    one.main(target).click()
    one.wait(lambda: len(one.taps()) > 0 and len(later) == 1)
    configure(one, "bob")
    live(one, target)
    one.until(target, None, 0)
    later[0].continue_()
    one.wait(lambda: kept(one) == [[target, "like"]])
    one.on_taps(lambda route: route.continue_())
    configure(one, "alice")
    one.until(target, "like", 1)
    assert service.stored("alice", target)["own"] == "like"


def test_what_cannot_be_sent_as_its_module_is_missing_is_kept_and_said(
    board: Open, service: Service, target: str
) -> None:
    one = board()
    one.failures_expected = True
    one.page.route("**/sender.js", lambda route: route.abort())
    one.open([target], "alice").ready()
    one.main(target).click()
    one.wait(lambda: kept(one) == [[target, "like"]])
    status = one.bar(target).locator(".status")
    one.wait(lambda: status.text_content() == "Not saved yet. Trying again.")
    assert one.taps() == []
    one.page.unroute("**/sender.js")
    one.until(target, "like", 1)
    assert service.stored("alice", target)["own"] == "like"
    one.wait(lambda: kept(one) == [])


@pytest.mark.parametrize("said", [True, False])
def test_a_target_that_is_refused_takes_the_comparison_from_no_other(
    board: Open, service: Service, said: bool
) -> None:
    changed, refused, same = fresh("post:"), fresh("granted:"), fresh("post:")
    service.call("PUT", f"/targets/{refused}", {"target_type": "message"})
    service.tap("alice", changed, "sad")  # on another device, since
    one = board()
    one.failures_expected = True
    if not said:
        one.page.route("**/reactions/feed", without_targets)
    one.open([], module=False)
    rows = [[target, "love", HOUR_MS, [None]] for target in (changed, refused, same)]
    one.page.evaluate(PUT, [f"{one.server.url}/ alice", rows])
    one.open([fresh("post:")])
    configure(one, "alice")
    one.wait(lambda: kept(one) == [])
    assert service.stored("alice", changed)["own"] == "sad"
    assert service.stored("alice", same)["own"] == "love"


def test_a_wish_waits_for_the_comparison_while_the_service_is_degraded(
    board: Open, service: Service, target: str
) -> None:
    service.tap("alice", target, "sad")  # on another device, since
    one = board()
    one.open([], module=False)
    one.page.evaluate(PUT, [f"{one.server.url}/ alice", [[target, "love", HOUR_MS, [None]]]])
    asked = 0

    def feed(route: Route) -> None:
        nonlocal asked
        answer = route.fetch()
        body = answer.json()
        if target in body["targets"]:
            asked += 1
            if asked < 3:
                del body["targets"][target]["reaction"]
        route.fulfill(response=answer, json={**body, "degraded": asked < 3})

    one.page.route("**/reactions/feed", feed)
    one.open([fresh("post:")])
    configure(one, "alice")
    one.wait(lambda: kept(one) == [])
    assert asked == 3
    assert one.taps() == []
    assert service.stored("alice", target)["own"] == "sad"
