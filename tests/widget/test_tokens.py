"""The token of a page: refused, renewed, another one, none at all, and something else in its place."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Route

from tests.support.server import ServerProcess
from tests.widget.board import Board, Service

pytestmark = pytest.mark.browser

Open = Callable[..., Board]


def test_a_token_is_asked_for_again_when_it_is_refused(
    board: Open, server: ServerProcess, target: str
) -> None:
    one = board()
    one.failures_expected = True
    one.open([target])
    one.page.expose_function("mint", lambda renew: server.token("alice") if renew else "stale")
    one.page.evaluate("""() => {
      globalThis.asked = [];
      document.querySelector("plaudit-bar").token = async ({renew}) => { asked.push(renew); return mint(renew); };
    }""")
    one.page.wait_for_function(
        "() => document.querySelector('plaudit-bar').shadowRoot.querySelector('.react').checkVisibility()"
    )
    one.main(target).click()
    one.until(target, "like", 1)
    assert one.page.evaluate("asked") == [False, True], "once, whatever the number of calls"


def test_a_bar_gets_a_new_token_as_attribute(
    board: Open, server: ServerProcess, service: Service, target: str
) -> None:
    one = board().open([target], "alice").ready().live()
    renewed = server.token("alice", grants=["other:*"])
    one.bar(target).evaluate("(bar, token) => bar.setAttribute('token', token)", renewed)
    one.wait(lambda: len(one.sent("GET", "/reactions/stream")) == 2)
    assert one.sent("GET", "/reactions/stream")[1].headers["authorization"] == f"Bearer {renewed}"
    service.tap("bob", target)
    one.until(target, None, 1)
    one.main(target).click()
    one.until(target, "like", 2)


def test_somebody_who_is_not_signed_in_has_a_display(board: Open, service: Service, target: str) -> None:
    service.tap("bob", target)
    one = board().open([target])
    one.bar(target).evaluate(
        "async bar => { await customElements.whenDefined('plaudit-bar'); bar.token = () => null; }"
    )
    one.wait(lambda: len(one.sent("POST", "/reactions/feed") + one.sent("GET", "/reactions/counts")) == 2)
    one.ready()
    assert not one.main(target).is_visible()
    assert one.shown(target)["total"] == 1


def test_who_is_not_signed_in_may_be_asked_to(
    board: Open, server: ServerProcess, service: Service, target: str
) -> None:
    one = board().open([target], attributes="sign-in").ready()
    bar, note = one.bar(target), one.bar(target).locator(".note")
    assert one.main(target).is_visible()
    assert not bar.locator(".more").is_visible()
    one.page.evaluate(WATCH_SIGN_IN)
    one.page.evaluate("() => { globalThis.ownWay = true; }")
    one.main(target).click()
    assert one.page.evaluate("asked") == [target]
    assert not note.is_visible()
    one.page.evaluate("() => { globalThis.ownWay = false; }")
    one.main(target).click()
    note.wait_for()
    assert note.inner_text() == "Sign in to react."
    assert one.taps() == []
    bar.evaluate("(bar, token) => { bar.token = token; }", server.token("alice"))
    bar.locator(".more").wait_for()
    assert not note.is_visible()
    one.main(target).click()
    one.until(target, "like", 1)
    assert len(one.page.evaluate("asked")) == 2
    bar.evaluate("bar => { bar.token = null; }")
    bar.locator(".more").wait_for(state="hidden")
    one.main(target).wait_for()
    bar.evaluate("bar => bar.removeAttribute('sign-in')")
    one.main(target).wait_for(state="hidden")


def test_null_is_nobodys_though_there_is_a_token_beside_it(
    board: Open, server: ServerProcess, service: Service, target: str
) -> None:
    one = board().open([target], "alice").ready()
    one.page.evaluate(
        "token => customElements.get('plaudit-bar').configure({token})", server.token("alice", ttl_s=500)
    )
    one.bar(target).evaluate("bar => { bar.token = null; }")
    assert one.bar(target).evaluate("bar => bar.token") is None
    one.main(target).wait_for(state="hidden")
    one.bar(target).evaluate("bar => bar.react('like')")
    one.page.wait_for_timeout(200)
    assert one.taps() == []
    assert service.stored("alice", target)["own"] is None
    one.bar(target).evaluate("bar => { bar.token = undefined; }")
    one.main(target).click()
    one.until(target, "like", 1)


def test_nobody_is_asked_to_sign_in_until_it_is_known_who_is_there(
    board: Open, server: ServerProcess, target: str
) -> None:
    one = board().open([target], attributes="sign-in").ready()
    one.page.evaluate(
        "token => { globalThis.ask = async () => { await globalThis.hold; return token; };"
        " document.querySelector('plaudit-bar').token = ask; }",
        server.token("alice"),
    )
    one.bar(target).locator(".more").wait_for()
    one.page.evaluate(
        "() => { globalThis.hold = new Promise(resolve => { globalThis.release = resolve; });"
        " document.querySelector('plaudit-bar').token = ask; }"
    )
    one.main(target).wait_for(state="hidden")
    one.page.evaluate(WATCH_SIGN_IN)
    one.bar(target).evaluate("bar => bar.openPicker()")
    assert one.page.evaluate("asked") == []
    assert not one.bar(target).locator(".note").is_visible()
    one.page.evaluate("() => release()")
    one.bar(target).locator(".more").wait_for()


WATCH_SIGN_IN = """() => {
  globalThis.asked = [];
  globalThis.ownWay = false;
  addEventListener("plaudit-signin", event => {
    asked.push(event.detail.target);
    if (ownWay) event.preventDefault();
  });
}"""


def test_a_stream_that_refuses_the_token_goes_on_without_it(
    board: Open, service: Service, target: str
) -> None:
    """The token of a page that was opened long ago has ended, and nobody can give it a new one."""
    one = board()
    one.failures_expected = True

    def instead(route: Route) -> None:
        if "authorization" in route.request.headers:
            route.fulfill(status=401, json={"code": "token_expired", "detail": "The token has expired."})
        else:
            route.continue_()

    for call in ("stream", "counts"):
        one.page.route(f"**/reactions/{call}?*", instead)
    one.open([target], "alice").ready()
    one.wait(lambda: bool(one.sent("GET", "/reactions/stream")))
    service.tap("bob", target)
    one.until(target, None, 1)
    assert not one.main(target).is_visible()


def test_a_token_that_stays_refused_leaves_a_display(board: Open, service: Service, target: str) -> None:
    service.tap("bob", target, "wow")
    one = board()
    one.failures_expected = True
    one.open([target], attributes='token="not.a.token"').ready()
    assert one.shown(target) == {"own": None, "total": 1, "reactions": {"wow": 1}}
    assert not one.main(target).is_visible()


def test_an_error_page_in_place_of_the_token_is_nobodys(board: Open, service: Service, target: str) -> None:
    """The host app answers with it once as the page is loaded, and once as the token is renewed."""
    service.tap("alice", target, "love")
    one = board()
    one.page.clock.install()
    one.open([target])
    one.page.evaluate(TROUBLED, one.server.token("alice", ttl_s=120))
    one.until(target, "love", 1)
    one.live()
    assert one.page.evaluate("answers") == []
    one.page.evaluate("answers.push('a token', 'a page')")
    one.page.clock.fast_forward(91_000)
    one.pick(target, "Sad")
    one.until(target, "sad", 1)
    assert service.stored("alice", target)["own"] == "sad"
    assert one.page.evaluate("answers") == []


TROUBLED = """async token => {
  await customElements.whenDefined("plaudit-bar");
  globalThis.answers = ["a token", "a page"];
  const said = {"a token": token, "a page": "<html>\\r\\n<h1>502 Bad Gateway</h1>\\r\\n</html>\\r\\n"};
  document.querySelector("plaudit-bar").token = () => said[answers.pop()];
}"""
