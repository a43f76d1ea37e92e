"""Counts go on as they change, whatever may not be seen of all that a page shows."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Route

from tests.support.api import fresh
from tests.support.server import ServerProcess
from tests.widget.board import Board, Service
from tests.widget.test_users import UNSEEN, configure, live

pytestmark = pytest.mark.browser

Open = Callable[..., Board]

ENDED_MS = 91_000  # no stream that is heard is silent for so long
HIDDEN = "id => document.querySelector(`[target='${id}']`).shadowRoot.querySelector('.bar').hidden"


@pytest.fixture
def private(service: Service) -> str:
    """A target that is seen with a grant for it alone."""
    target = fresh("granted:")
    service.call("PUT", f"/targets/{target}", {"target_type": "message"})
    return target


@pytest.mark.parametrize("windows", [1, 2])
def test_tokens_of_a_user_that_grant_different_targets_are_all_live(
    board: Open, server: ServerProcess, service: Service, target: str, private: str, windows: int
) -> None:
    feed = board().open([])
    feed.add([target], token=server.token("alice"))
    feed.ready().live()
    chat = feed if windows == 1 else board(context=feed.context).open([])
    chat.add([private], token=server.token("alice", grants=["granted:*"]))
    chat.ready()
    service.tap("bob", private)
    service.tap("bob", target)
    feed.until(target, None, 1)
    chat.until(private, None, 1)
    chat.main(private).click()
    chat.until(private, "like", 2)


def test_a_token_for_each_bar_leaves_connections_for_taps(
    board: Open, server: ServerProcess, service: Service
) -> None:
    """A browser has six to a host, as long as it does not speak HTTP/2."""
    targets = [fresh("post:") for _ in range(8)]
    one = board(viewport={"width": 800, "height": 2400}).open([])
    for target in targets:
        one.add([target], token=server.token("alice", grants=[target]))
    one.ready().live()
    for target in targets:
        service.tap("bob", target)
    for target in targets:
        one.until(target, None, 1)
    one.main(targets[0]).click()
    one.until(targets[0], "like", 2)
    assert len(one.sent("GET", "/reactions/stream")) == 2


def test_what_a_renewed_token_does_not_grant_any_more_holds_up_nothing_else(
    board: Open, service: Service, target: str, private: str
) -> None:
    one = board()
    one.failures_expected = True
    one.page.clock.install()
    one.open([target, private])
    configure(one, "alice", grants=["granted:*"], ttl_s=120)
    live(one, private)
    service.tap("emi", target)
    one.until(target, None, 1)
    one.page.evaluate("token => { globalThis.token = token; }", one.server.token("alice", grants=["other:*"]))
    one.page.clock.fast_forward(ENDED_MS)
    one.page.wait_for_function(HIDDEN, arg=private)
    service.tap("bob", target)
    one.until(target, None, 2)
    assert one.page.evaluate("asked") == [False, True]


def test_what_only_the_token_showed_holds_up_nothing_else_when_that_has_ended(
    board: Open, service: Service, target: str, private: str
) -> None:
    """As a page does that was made by the host app, and left open."""
    one = board()
    one.failures_expected = True
    more = fresh("post:")
    one.page.clock.install()
    one.open([target, private, more], "alice").ready()
    service.tap("emi", more)
    one.until(more, None, 1)

    def ended(route: Route) -> None:
        if "authorization" in route.request.headers:
            route.fulfill(status=401, json={"code": "token_expired", "detail": "The token has expired."})
        else:
            route.continue_()

    one.page.route("**/api/v1/**", ended)
    one.page.clock.fast_forward(ENDED_MS)
    one.page.wait_for_function(HIDDEN, arg=private)
    for shown, total in ((target, 1), (more, 2)):
        service.tap("bob", shown)
        one.until(shown, None, total)
    assert not one.main(target).is_visible()


def test_what_another_tab_may_not_see_any_more_holds_up_nothing(
    board: Open, service: Service, target: str
) -> None:
    """The tab that connects has no bar for it, so the other one has to look."""
    one, elsewhere, more = board(), fresh("post:"), fresh("post:")
    one.failures_expected = True
    one.page.clock.install()
    one.open([target], "alice").ready().live()
    other = board(context=one.context)
    other.failures_expected = True
    other.open([elsewhere, more], "alice").ready()
    service.tap("emi", more)
    other.until(more, None, 1)
    service.call("PUT", f"/targets/{elsewhere}", {"target_type": "message", "allowed": ["like"]})
    one.page.clock.fast_forward(ENDED_MS)
    other.page.wait_for_function(HIDDEN, arg=elsewhere)
    for tab, shown, total in ((one, target, 1), (other, more, 2)):
        service.tap("bob", shown)
        tab.until(shown, None, total)


def test_what_stays_refused_is_asked_for_once_by_tabs_that_nobody_sees(board: Open, target: str) -> None:
    """A proxy on the way takes no address of that length, say."""
    boards = [board()]
    boards += [board(context=boards[0].context) for _ in range(2)]
    for one in boards:
        one.failures_expected = True
        one.page.add_init_script(UNSEEN)
        one.page.clock.install()
        for call in ("stream", "counts"):
            one.page.route(f"**/reactions/{call}?*", lambda route: route.fulfill(status=414))
        one.open([target], "alice").ready()
    seen, hidden, beside = boards
    seen.live()

    def asked(one: Board) -> int:
        return len(one.sent("POST", "/reactions/feed"))

    hidden.page.evaluate("see(false)")
    first = [asked(one) for one in boards]
    for _ in range(4):
        polls = len(seen.sent("GET", "/reactions/counts"))
        seen.page.clock.fast_forward(ENDED_MS)
        seen.wait(lambda polls=polls: len(seen.sent("GET", "/reactions/counts")) > polls)  # type: ignore[misc]  # bound
    for one in boards:
        one.page.wait_for_timeout(100)
    assert asked(seen) > first[0]
    assert asked(hidden) == first[1]
    assert asked(beside) <= first[2] + 1
    before = asked(beside)
    beside.page.evaluate(REFUSED, [f"plaudit {beside.server.url}/ alice", target])
    beside.wait(lambda: asked(beside) > before)
    assert asked(hidden) == first[1]
    hidden.page.evaluate("see(true)")
    hidden.wait(lambda: asked(hidden) == first[1] + 1)


# As another tab says it.
REFUSED = """([name, id]) => {
  new BroadcastChannel(name).postMessage({kind: "refused", ids: [id]});
}"""
