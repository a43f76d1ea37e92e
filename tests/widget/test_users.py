"""Who the user is may change while a page stays: each sees and does what is their own."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route

from plaudit.http.keys import secret_key, sign
from tests.support.api import fresh
from tests.support.server import ServerProcess
from tests.widget.board import Board, Service
from tests.widget.test_taps import KEPT

pytestmark = pytest.mark.browser

Open = Callable[..., Board]

LEARNED_MS = 21_000  # a session looks whether anybody watches every 20 s

# One function for all bars, whose answer is what the host app has at the moment.
CONFIGURE = """token => {
  globalThis.token = token;
  globalThis.asked ??= [];
  globalThis.ask ??= async ({renew}) => { asked.push(renew); await globalThis.hold; return globalThis.token; };
  customElements.get("plaudit-bar").configure({token: ask});
}"""
LIVE = """bar => bar.counts && !bar.shadowRoot.querySelector('.bar').hidden
  && bar.shadowRoot.querySelector('.react').checkVisibility()"""
# What a session holds on to: channels, timers that repeat, and what listens.
COUNT_HELD = """
  globalThis.held = {channels: 0, intervals: 0, listeners: 0};
  globalThis.BroadcastChannel = class extends BroadcastChannel {
    constructor(name) { super(name); held.channels += 1; }
    close() { super.close(); held.channels -= 1; }
  };
  const [start, stop, clear] = [setInterval, clearInterval, clearTimeout], running = new Set();
  const ended = id => { running.delete(id); held.intervals = running.size; };
  globalThis.setInterval = (...how) => {
    const id = start(...how);
    running.add(id);
    held.intervals = running.size;
    return id;
  };
  globalThis.clearInterval = id => { stop(id); ended(id); };
  globalThis.clearTimeout = id => { clear(id); ended(id); };
  for (const target of [window, document]) {
    const add = target.addEventListener;
    target.addEventListener = function (type, listener, how) {
      held.listeners += 1;
      how?.signal?.addEventListener("abort", () => { held.listeners -= 1; });
      return add.call(this, type, listener, how);
    };
  }
"""


def configure(one: Board, user: str | None, **claims: Any) -> None:
    """The host app has this user's token now, and says that it may be another's."""
    one.page.wait_for_function("() => !!customElements.get('plaudit-bar')")
    one.page.evaluate(CONFIGURE, one.server.token(user, **claims) if user else None)


def live(one: Board, target: str) -> None:
    """Wait until the bar can be tapped."""
    one.page.wait_for_function(
        f"target => ({LIVE})(document.querySelector(`[target='${{target}}']`))", arg=target
    )


def as_user(one: Board, user: str | None) -> list[str]:
    """What the page has sent with this user's token."""
    ours = one.server.token(user).split(".")[1][:20] if user else ""
    return [sent.url for sent in one.requests if ours in sent.headers.get("authorization", "")]


def test_the_next_user_of_a_page_reacts_as_themselves(board: Open, service: Service, target: str) -> None:
    service.tap("alice", target, "love")
    service.tap("bob", target, "wow")
    one = board().open([target])
    configure(one, "alice")
    one.until(target, "love", 2)
    one.bar(target).evaluate("bar => bar.openDialog()")
    one.bar(target).locator("dialog").wait_for()
    configure(one, "bob")
    one.until(target, "wow", 2)
    assert one.bar(target).locator("dialog").count() == 0
    assert one.page.evaluate("asked") == [False, True], "once for each time"
    one.pick(target, "Sad")
    one.until(target, "sad", 2)
    assert service.stored("bob", target)["own"] == "sad"
    assert service.stored("alice", target)["own"] == "love"


def test_the_property_set_again_asks_again(board: Open, service: Service) -> None:
    targets = [fresh("post:") for _ in range(20)]
    service.tap("bob", targets[0], "wow")
    one = board(viewport={"width": 800, "height": 6000}).open(targets)
    configure(one, None)
    one.ready()
    set_all = "document.querySelectorAll('plaudit-bar').forEach(bar => { bar.token = ask; })"
    one.page.evaluate(set_all)
    one.page.evaluate("token => { globalThis.token = token; }", one.server.token("bob"))
    one.page.evaluate(set_all)
    one.until(targets[0], "wow", 1)
    assert one.page.evaluate("asked") == [False, True], "all bars together ask once"


def test_who_signs_in_without_a_reload_can_react(board: Open, service: Service, target: str) -> None:
    service.tap("bob", target, "wow")
    one = board().open([target])
    configure(one, None)
    one.ready()
    assert not one.main(target).is_visible()
    configure(one, "bob")
    live(one, target)
    one.until(target, "wow", 1)
    one.main(target).click()
    one.until(target, None, 0)


def test_after_signing_out_bars_are_displays(board: Open, service: Service, target: str) -> None:
    service.tap("alice", target, "love")
    one = board().open([target])
    configure(one, "alice")
    one.until(target, "love", 1)
    configure(one, None)
    one.until(target, None, 1)
    one.page.wait_for_function(
        "document.querySelector('plaudit-bar').shadowRoot.querySelector('.count').checkVisibility()"
    )
    assert not one.main(target).is_visible()
    assert "You" not in one.bar(target).locator(".count").inner_text()
    assert one.bar(target).evaluate("bar => { bar.react('sad'); return bar.reaction; }") is None


def test_a_bar_is_a_display_until_it_is_known_who_looks(board: Open, service: Service, target: str) -> None:
    service.tap("alice", target, "love")
    one = board().open([target])
    configure(one, "alice")
    one.until(target, "love", 1)
    live(one, target)
    one.page.evaluate(
        "() => { globalThis.hold = new Promise((_, reject) => { globalThis.fail = reject; }); }"
    )
    configure(one, "bob")
    one.main(target).wait_for(state="hidden")
    one.bar(target).evaluate("bar => bar.react('sad')")
    assert one.bar(target).evaluate("bar => bar.pending") is False
    one.page.evaluate("() => { fail(new Error('not now')); globalThis.hold = null; }")
    one.until(target, None, 1)
    live(one, target)
    assert one.page.evaluate("asked") == [False, True, True], "until there is an answer"
    assert service.stored("alice", target)["own"] == "love"


def test_the_same_user_goes_on(board: Open, service: Service, target: str) -> None:
    one = board().open([target])
    configure(one, "alice")
    live(one, target)
    one.live()
    service.tap("alice", target, "love")
    configure(one, "alice", ttl_s=500)
    one.until(target, "love", 1)
    assert len(one.sent("GET", "/reactions/stream")) == 1, "with the connection there is"


# How many refusals the page has read.
COUNT_REFUSED = """
  globalThis.refused = 0;
  const json = Response.prototype.json;
  Response.prototype.json = async function () {
    const said = await json.call(this);
    if (this.status === 401) refused += 1;
    return said;
  };
"""


def test_a_late_refusal_of_a_stream_without_token_is_nobodys(board: Open, service: Service) -> None:
    """It was connected while nobody was known, for a target that only who is signed in may see."""
    private, more = fresh("granted:"), fresh("granted:")
    for target in (private, more):
        service.call("PUT", f"/targets/{target}", {"target_type": "message"})
    one = board()
    one.failures_expected = True
    one.page.add_init_script(COUNT_REFUSED)
    one.open([])
    configure(one, "alice", grants=["granted:*"])
    one.add([private], type="message")
    live(one, private)
    one.live()
    late: list[Route] = []
    one.page.route(
        "**/reactions/stream*",
        lambda route: route.continue_() if "authorization" in route.request.headers else late.append(route),
    )
    one.page.evaluate(
        "() => { globalThis.hold = new Promise(resolve => { globalThis.release = resolve; }); }"
    )
    configure(one, "alice", grants=["granted:*"])
    one.add([more])
    one.wait(lambda: len(late) == 1)
    one.page.evaluate("() => { release(); globalThis.hold = null; }")
    live(one, private)
    live(one, more)
    late[0].continue_()
    one.page.wait_for_function("() => refused === 1")
    one.main(private).click()
    one.until(private, "like", 1)


def test_fifty_tokens_leave_one_session(board: Open, server: ServerProcess, target: str) -> None:
    one = board()
    one.page.clock.install()
    one.page.add_init_script(COUNT_HELD)
    one.open([target], "alice").ready().live()
    before = one.page.evaluate("held")
    for number in range(50):
        token = server.token("alice", grants=[f"granted:{number}"])
        one.bar(target).evaluate("(bar, token) => { bar.token = token; }", token)
    one.ready()
    one.wait(lambda: one.page.evaluate("held.channels") > 1)
    one.page.clock.fast_forward(LEARNED_MS)
    one.wait(lambda: one.page.evaluate("held") == before)
    assert before["channels"] == 1
    one.main(target).click()
    one.until(target, "like", 1)


def test_a_token_about_to_end_is_renewed_before(board: Open, service: Service, target: str) -> None:
    one = board()
    one.page.clock.install()
    one.open([target])
    configure(one, "alice", ttl_s=120)
    live(one, target)
    one.live()
    one.page.clock.fast_forward(91_000)
    one.page.evaluate("token => { globalThis.token = token; }", one.server.token("alice", grants=["other:*"]))
    one.main(target).click()
    one.until(target, "like", 1)
    assert one.page.evaluate("asked") == [False, True]


def test_users_are_told_apart_by_the_claim_that_names_them(board: Open, target: str, tmp_path: Path) -> None:
    """The same app is the `sub` of all of them."""
    with ServerProcess(tmp_path / "data", env={"PLAUDIT_USER_CLAIM": "uid"}) as server:
        service = Service(server)
        one = board(server)
        one.failures_expected = True
        one.open([target])
        set_user(one, server, "alice")
        live(one, target)
        one.live()
        one.on_taps(lambda route: route.abort())
        one.main(target).click()
        one.wait(lambda: one.page.evaluate(KEPT) == [[target, "like"]])
        set_user(one, server, "bob")
        live(one, target)
        one.until(target, None, 0)
        one.on_taps(lambda route: route.continue_())
        one.bar(target).evaluate("bar => bar.react('wow')")
        one.until(target, "wow", 1)
        assert service.stored("alice", target)["own"] is None
        set_user(one, server, "alice")
        one.until(target, "like", 2)


def set_user(one: Board, server: ServerProcess, user: str) -> None:
    """The host app has this user's token now, whose `sub` is the app."""
    claims = {"sub": "app", "uid": user, "exp": int(time.time()) + 600}
    secret = (server.data / "secret").read_text().strip()
    token = sign(json.dumps(claims).encode(), secret_key(secret))
    one.page.wait_for_function("() => !!customElements.get('plaudit-bar')")
    one.page.evaluate(CONFIGURE, token)


@pytest.mark.parametrize("answer", ["throws", "a login page"])
def test_who_may_not_be_known_yet_sees_counts(
    board: Open, service: Service, target: str, answer: str
) -> None:
    """Many an app answers 401, or with its page to sign in, where nobody is signed in."""
    service.tap("alice", target, "love")
    one = board()
    one.page.add_init_script(UNSEEN)
    one.page.clock.install()
    one.open([target], attributes="sign-in")
    one.page.evaluate(NOT_KNOWN, answer)
    one.ready().live()
    assert one.shown(target) == {"own": None, "total": 1, "reactions": {"love": 1}}
    assert not one.main(target).is_visible()
    service.tap("bob", target)
    one.until(target, None, 2)
    assert one.sent("POST", "/reactions/feed") == []
    asked = one.page.evaluate("asked")
    one.page.clock.fast_forward(31_000)
    one.page.wait_for_function("asked => globalThis.asked > asked", arg=asked)
    one.page.evaluate("see(false)")
    one.page.wait_for_timeout(100)
    asked = one.page.evaluate("asked")
    one.page.clock.fast_forward(300_000)
    one.page.wait_for_timeout(100)
    assert one.page.evaluate("asked") == asked, "nobody sees it"
    one.page.evaluate("token => { answer = token; see(true); }", one.server.token("alice"))
    one.until(target, "love", 2)
    assert one.page.evaluate("asked") == asked + 1
    other = board(context=one.context).open([target], "alice").ready()
    other.bar(target).evaluate("bar => bar.react('sad')")
    one.until(target, "sad", 2)
    one.bar(target).evaluate("bar => bar.react('wow')")
    other.until(target, "wow", 2)


# `see` says whether the page is seen.
UNSEEN = """
  let seen = true;
  Object.defineProperty(document, "hidden", {get: () => !seen});
  globalThis.see = yes => { seen = yes; document.dispatchEvent(new Event("visibilitychange", {bubbles: true})); };
"""
NOT_KNOWN = """async said => {
  await customElements.whenDefined("plaudit-bar");
  globalThis.asked = 0;
  globalThis.answer = said === "throws" ? null : "<html><h1>Sign in</h1></html>";
  const token = async () => {
    asked += 1;
    if (!answer) throw new Error("no token: 401");
    return answer;
  };
  customElements.get("plaudit-bar").configure({token});
}"""
