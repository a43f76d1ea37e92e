"""A wish that waits is of who had it, and as old as when they had it."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable

import pytest
from playwright.sync_api import Route

from tests.support.api import fresh
from tests.widget.board import Board, Service
from tests.widget.test_taps import KEPT
from tests.widget.test_users import configure, live

pytestmark = pytest.mark.browser

Open = Callable[..., Board]


def tapped(one: Board) -> list[tuple[str, str]]:
    """Who sent which reaction so far, by the tokens."""
    found = []
    for sent in one.sent("PUT", "/reactions"):
        claims = json.loads(urlsafe_b64decode(sent.headers["authorization"].split(".")[1] + "=="))
        found.append((claims["sub"], json.loads(sent.post_data or "")["reaction_type"]))
    return found


def test_a_wish_that_waits_is_sent_for_nobody_but_who_had_it(
    board: Open, service: Service, target: str
) -> None:
    one = board()
    one.failures_expected = True
    one.open([target])
    configure(one, "alice")
    live(one, target)
    one.live()
    one.on_taps(lambda route: route.abort())
    one.main(target).click()
    one.wait(lambda: one.page.evaluate(KEPT) == [[target, "like"]])
    configure(one, "bob")
    live(one, target)
    one.until(target, None, 0)
    one.on_taps(lambda route: route.continue_())
    one.bar(target).evaluate("bar => bar.react('wow')")
    one.until(target, "wow", 1)
    # Until then alice's own may have been tried again, for her.
    assert {wish for who, wish in tapped(one) if who == "bob"} == {"wow"}
    assert service.stored("alice", target)["own"] is None
    configure(one, "alice")
    one.until(target, "like", 2)
    one.wait(lambda: one.page.evaluate(KEPT) == [])
    assert service.stored("alice", target)["own"] == "like"
    assert service.stored("bob", target)["own"] == "wow"


def test_a_renewed_token_of_somebody_else_sends_no_wish_of_before(
    board: Open, service: Service, target: str
) -> None:
    """Nobody said that the user has changed; the service refuses the token, and the function has Bob's."""
    one = board()
    one.failures_expected = True
    one.open([target])
    configure(one, "alice")
    live(one, target)
    one.live()
    bob = one.server.token("bob")
    one.page.evaluate("token => { globalThis.token = token; }", bob)
    refused: list[str] = []

    def refuse(route: Route) -> None:
        if route.request.headers["authorization"] == f"Bearer {bob}":
            route.continue_()
        else:
            refused.append(route.request.post_data or "")
            body = '{"code": "token_expired"}'
            route.fulfill(status=401, body=body, content_type="application/problem+json")

    one.on_taps(refuse)
    one.main(target).click()
    one.wait(lambda: one.page.evaluate(KEPT) == [[target, "like"]])
    one.until(target, None, 0)
    live(one, target)
    assert len(refused) == len(one.taps()) == 1
    assert service.stored("bob", target)["own"] is None


# A wish of a page that went away: [target, reaction, how old it is, what the service may have had then].
PUT = """([place, rows]) => new Promise((resolve, reject) => {
  const asked = indexedDB.open("plaudit", 1);
  asked.onupgradeneeded = () => asked.result.createObjectStore("wishes", {keyPath: ["place", "target"]});
  asked.onerror = reject;
  asked.onsuccess = () => {
    const writing = asked.result.transaction("wishes", "readwrite");
    for (const [target, reaction, ageMs, from] of rows) {
      const row = {place, target, key: `key-of-${target}`, reaction, type: "post", atMs: Date.now() - ageMs, from};
      writing.objectStore("wishes").put(row);
    }
    writing.oncomplete = () => { asked.result.close(); resolve(); };
  };
})"""
HOUR_MS = 3_600_000


def test_a_wish_older_than_what_the_user_did_since_is_dropped(board: Open, service: Service) -> None:
    cases = {
        "as it was": (None, "love", 23, [None], "love"),
        "the service forgets its key": (None, "love", 25, [None], None),
        "changed elsewhere": ("sad", "love", 1, [None], "sad"),
        "stored, and then changed elsewhere": ("sad", "love", 1, [None, "love"], "sad"),
        "an older wish was stored": ("haha", "love", 1, [None, "haha"], "love"),
        "stored": ("love", "love", 1, [None, "love"], "love"),
        "nobody knows what was there": ("sad", "love", 1, None, "love"),
    }
    targets = {case: fresh("post:") for case in cases}
    for case, (now, *_) in cases.items():
        if now:
            service.tap("alice", targets[case], now)
    one = board()
    one.open([], module=False)
    rows = [
        [targets[case], wish, hours * HOUR_MS, before] for case, (_, wish, hours, before, _) in cases.items()
    ]
    one.page.evaluate(PUT, [f"{one.server.url}/ alice", rows])
    elsewhere = fresh("post:")
    one.open([elsewhere], "alice").ready()
    one.wait(lambda: one.page.evaluate(KEPT) == [])
    found = {case: service.stored("alice", target)["own"] for case, target in targets.items()}
    assert found == {case: then for case, (*_, then) in cases.items()}


def test_a_wish_is_as_old_as_when_the_user_had_it(board: Open, target: str) -> None:
    one = board()
    one.failures_expected = True
    one.page.clock.install()
    one.open([target], "alice").ready().live()
    one.on_taps(lambda route: route.abort())
    one.main(target).click()
    one.page.evaluate("addEventListener('plaudit-refused', event => { globalThis.refusal = event.detail; })")
    one.wait(lambda: one.page.evaluate(KEPT) == [[target, "like"]])
    one.page.clock.fast_forward(25 * HOUR_MS)
    one.wait(lambda: one.page.evaluate(KEPT) == [])
    assert one.bar(target).evaluate("bar => [bar.reaction, bar.pending]") == [None, False]
    assert one.page.evaluate("refusal.code") == "wish_expired"
    assert one.bar(target).locator(".note").inner_text() == "That did not work."


def test_a_wish_that_another_tab_took_over_does_not_grow_old(board: Open, target: str) -> None:
    one = board()
    one.failures_expected = True
    one.page.clock.install()
    one.open([target], "alice").ready().live()
    other = board(context=one.context).open([target], "alice").ready()
    one.on_taps(lambda route: route.fulfill(status=503, headers={"retry-after": "3600"}))
    one.page.evaluate("addEventListener('plaudit-refused', event => { globalThis.refusal = event.detail; })")
    one.main(target).click()
    one.wait(lambda: one.page.evaluate(KEPT) == [[target, "like"]])
    other.pick(target, "Love")
    one.until(target, "love", 1)
    one.on_taps(lambda route: route.continue_())
    one.page.clock.fast_forward(25 * HOUR_MS)
    one.main(target).click()
    one.until(target, None, 0)
    assert one.page.evaluate("globalThis.refusal") is None
