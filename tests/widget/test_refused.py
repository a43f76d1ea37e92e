"""Targets that the service, or somebody on the way to it, refuses: others are shown all the same, at little cost."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Route

from tests.support.api import fresh
from tests.support.server import ServerProcess
from tests.widget.board import Board, Service

pytestmark = pytest.mark.browser

Open = Callable[..., Board]


def test_a_malformed_target_is_not_asked_for_and_hurts_nobody(
    board: Open, service: Service, target: str
) -> None:
    one = board().open([target], "alice").ready()
    for broken in ("", "a b", "<img src=x onerror=alert(1)>", "stream", "..", "x" * 129):
        one.add([broken], token="x.y.z")
    one.page.evaluate("document.querySelector('main').append(document.createElement('plaudit-bar'))")
    one.main(target).click()
    one.until(target, "like", 1)
    asked = [
        json.loads(request.post_data or "")["target_ids"] for request in one.sent("POST", "/reactions/feed")
    ]
    assert asked
    assert all(ids == [target] for ids in asked)


def test_a_target_that_is_refused_does_not_take_the_others_away(
    board: Open, server: ServerProcess, target: str
) -> None:
    secret = fresh("dm:")
    Service(server).call("PUT", f"/targets/{secret}", {"target_type": "message"})
    more = [fresh("post:") for _ in range(5)]
    one = board()
    one.failures_expected = True
    one.open([*more[:2], secret, *more[2:]], "alice")
    for id_ in more:
        one.page.wait_for_function("id => document.querySelector(`[target='${id}']`).counts", arg=id_)
    assert one.shown(secret) is None


def test_a_target_that_cannot_be_read_does_not_take_the_others_away(board: Open) -> None:
    bad, more = fresh("post:"), [fresh("post:") for _ in range(5)]
    one = board()
    one.failures_expected = True

    def answer(route: Route) -> None:
        if bad in route.request.url or bad in (route.request.post_data or ""):
            told = {"code": "internal", "status": 500, "target_ids": [bad]}
            route.fulfill(status=500, body=json.dumps(told), content_type="application/problem+json")
        else:
            route.continue_()

    one.page.route("**/reactions/*", answer)
    one.open([*more[:2], bad, *more[2:]], "alice")
    for id_ in more:
        one.page.wait_for_function("id => document.querySelector(`[target='${id}']`).counts", arg=id_)
    assert one.shown(bad) is None
    one.wait(lambda: len(streams(one)) >= 1)
    assert all(bad not in stream for stream in streams(one)[-1:])
    assert len(one.sent("POST", "/reactions/feed")) == 2


@pytest.mark.parametrize("user", ["alice", None])
def test_targets_that_are_refused_cost_one_more_request(
    board: Open, server: ServerProcess, target: str, user: str | None
) -> None:
    secret = [fresh("dm:") for _ in range(60)]
    for id_ in secret:
        Service(server).call("PUT", f"/targets/{id_}", {"target_type": "message"})
    one = board(viewport={"width": 800, "height": 12_000})
    one.failures_expected = True
    one.open([*secret, target], user)
    one.until(target, None, 0)
    one.wait(lambda: len(streams(one)) >= 1)
    one.page.wait_for_timeout(1_000)
    asked = one.sent("POST", "/reactions/feed") + one.sent("GET", "/reactions/counts")
    assert len(asked) == 2
    assert streams(one) == [f"{one.server.url}/api/v1/reactions/stream?target_ids={target}"]
    assert [one.shown(id_) for id_ in secret] == [None] * len(secret)


def streams(one: Board) -> list[str]:
    return [sent.url for sent in one.sent("GET", "/reactions/stream")]


def test_a_refusal_of_somebody_on_the_way_is_not_asked_into_pieces(board: Open) -> None:
    targets = [fresh("post:") for _ in range(60)]
    one = board(viewport={"width": 800, "height": 12_000})
    one.failures_expected = True
    one.page.route("**/reactions/*", lambda route: route.fulfill(status=403, body="<h1>Forbidden</h1>"))
    one.open(targets, "alice")
    one.wait(lambda: bool(one.sent("POST", "/reactions/feed")))
    one.page.wait_for_timeout(1_500)
    assert len(one.sent("POST", "/reactions/feed")) == 1


def test_a_question_too_long_for_somebody_on_the_way_is_asked_in_parts(board: Open) -> None:
    targets = [f"{fresh('post:')}-".ljust(90, "x") for _ in range(100)]
    one = board(viewport={"width": 800, "height": 24_000})
    one.failures_expected = True

    def proxy(route: Route) -> None:
        if len(route.request.url) > 8_000:
            route.fulfill(status=414, body="<h1>URI Too Long</h1>")
        else:
            route.continue_()

    one.page.route("**/reactions/counts?**", proxy)
    one.open(targets).ready()
    assert [len(sent.url) > 8_000 for sent in one.sent("GET", "/reactions/counts")][:3] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("user", ["alice", None])
def test_a_service_of_before_does_not_say_which_target_it_refuses(
    board: Open, server: ServerProcess, user: str | None
) -> None:
    secret, seen = fresh("dm:"), [fresh("post:") for _ in range(49)]
    Service(server).call("PUT", f"/targets/{secret}", {"target_type": "message"})
    one = board(viewport={"width": 800, "height": 12_000})
    one.failures_expected = True
    one.page.route("**/reactions/*", without_targets)
    one.open([*seen, secret], user).ready(len(seen))
    assert one.shown(secret) is None


def without_targets(route: Route) -> None:
    """Pass the service's answer on without the list of what is refused."""
    if "/stream" in route.request.url:
        return route.continue_()
    answer = route.fetch()
    body = answer.json()
    body.pop("target_ids", None)
    return route.fulfill(response=answer, json=body)
