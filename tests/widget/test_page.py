"""A page of bars: live counts, one connection for all tabs, and answers that are refused, late or somebody else's."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Request, Route

from tests.support.api import fresh
from tests.support.server import ServerProcess
from tests.widget.board import Board, Service

pytestmark = pytest.mark.browser

Open = Callable[..., Board]


def test_without_a_token_counts_are_asked_for_without_headers(board: Open, service: Service) -> None:
    targets = [fresh("post:") for _ in range(3)]
    service.tap("bob", targets[0])
    one = board().open(targets).ready().live()
    asked = (
        one.sent("GET", "/reactions/counts")
        + one.sent("GET", "/reactions/stream")
        + one.sent("GET", "/catalogue")
    )
    assert len(asked) == 3
    plain = {
        "user-agent",
        "referer",
        "accept",
        "sec-ch-ua",
        "sec-ch-ua-mobile",
        "sec-ch-ua-platform",
        "accept-language",
    }
    assert set().union(*(sent.headers for sent in asked)) <= plain, "nothing that needs a preflight"
    bar = one.bar(targets[0])
    assert not bar.locator(".react").is_visible()
    assert not bar.locator(".more").is_visible()
    assert bar.locator(".count").inner_text().endswith("1")
    assert bar.evaluate("bar => { bar.react('like'); return bar.pending; }") is False


def test_bars_far_down_are_asked_for_when_they_come_near(board: Open, service: Service) -> None:
    targets = [fresh("post:") for _ in range(60)]
    one = board(viewport={"width": 800, "height": 600}).open(targets, "alice")
    one.wait(lambda: bool(one.sent("POST", "/reactions/feed")))
    first = json.loads(one.sent("POST", "/reactions/feed")[0].post_data or "")["target_ids"]
    assert 0 < len(first) < 30
    one.bar(targets[-1]).scroll_into_view_if_needed()
    one.page.wait_for_function("id => document.querySelector(`[target='${id}']`).counts", arg=targets[-1])
    asked = [
        id_
        for sent in one.sent("POST", "/reactions/feed")
        for id_ in json.loads(sent.post_data or "")["target_ids"]
    ]
    assert len(asked) == len(set(asked)), "no target twice"


def test_two_browsers_converge_and_see_each_other_live(board: Open, service: Service, target: str) -> None:
    one = board().open([target], "alice").ready().live()
    other = board().open([target], "bob").ready().live()
    one.main(target).click()
    other.until(target, None, 1)
    other.pick(target, "Love")
    for seen, own in ((one, "like"), (other, "love")):
        seen.until(target, own, 2)
        assert seen.shown(target)["reactions"] == {"like": 1, "love": 1}
    one.page.wait_for_function(SENTENCE, arg="You and \u2068Bob Okafor\u2069")
    other.page.wait_for_function(SENTENCE, arg="You and \u2068Alice Arnaud\u2069")


def test_two_tabs_of_a_user_share_a_connection_and_the_own_state(
    board: Open, service: Service, target: str
) -> None:
    one = board().open([target], "alice").ready().live()
    elsewhere = fresh("post:")
    other = board(context=one.context).open([target, elsewhere], "alice").ready()
    one.wait(lambda: len(one.sent("GET", "/reactions/stream")) == 2, 10)  # wider, for the other tab's target
    service.tap("bob", elsewhere)
    other.until(elsewhere, None, 1)
    other.main(target).click()
    one.until(target, "like", 1)
    assert other.sent("GET", "/reactions/stream") == []
    one.page.close()
    other.live()
    service.tap("emi", elsewhere, "wow")
    other.until(elsewhere, None, 2)


def test_two_users_side_by_side_do_not_mix(board: Open, server: ServerProcess, target: str) -> None:
    one = board().open([target], "alice").ready().live()
    one.add([target], token=server.token("bob"), id="bob")
    one.page.wait_for_function("() => document.getElementById('bob').counts")
    one.main(target).first.click()
    one.page.wait_for_function("() => document.getElementById('bob').counts.total === 1")
    assert one.page.evaluate("document.getElementById('bob').reaction") is None


def garbage(route: Route) -> None:
    """A stream that has never heard of a protocol, and ends."""
    noise = (
        'data\n\nevent: counts\ndata: {"counts": {"x": 1, "__proto__": {}}}\n\nevent: counts\ndata: <script>\n\n\0\xff'
        * 50
    )
    route.fulfill(headers={"content-type": "text/event-stream"}, body=noise)


@pytest.mark.parametrize("answer", ["garbage", "503", "html", "gone"])
def test_without_a_stream_counts_are_asked_for(
    board: Open, service: Service, target: str, answer: str
) -> None:
    one = board()
    one.failures_expected = answer != "garbage" and answer != "html"

    def instead(route: Route) -> None:
        if answer == "garbage":
            garbage(route)
        elif answer == "503":
            route.fulfill(status=503, headers={"retry-after": "60"}, body="{}")
        elif answer == "html":
            route.fulfill(body="<h1>Welcome</h1>", headers={"content-type": "text/html"})
        else:
            route.abort()

    one.page.route("**/reactions/stream?*", instead)
    one.open([target], "alice").ready().live()
    service.tap("bob", target)
    one.until(target, None, 1)
    one.main(target).click()
    one.until(target, "like", 2)


@pytest.mark.parametrize("call", ["catalogue", "reactions/feed"])
def test_an_answer_of_somebody_else_is_asked_for_again(board: Open, target: str, call: str) -> None:
    one = board()
    answers = [
        "null",
        '{"reactions": 7, "targets": {"x": {"counts": "<b>"}}}',
        "<h1>Welcome to this Wi-Fi</h1>",
    ]

    def instead(route: Route) -> None:
        if answers:
            route.fulfill(body=answers.pop(), content_type="application/json")
        else:
            route.continue_()

    one.page.route(f"**/api/v1/{call}", instead)
    one.open([target], "alice").ready()
    one.main(target).click()
    one.until(target, "like", 1)


def test_a_server_that_is_down_at_load_is_asked_again(board: Open, tmp_path: Path, target: str) -> None:
    with ServerProcess(tmp_path / "data") as server:
        one = board(server)
        one.failures_expected = True
        one.open([], "alice")
        one.page.wait_for_function("() => customElements.get('plaudit-bar')")
        token = server.token("alice")
        server.stop()
        one.add([target], token=token)
        one.page.wait_for_timeout(500)
        assert one.page.locator("h1").inner_text() == "Posts"
        assert one.shown(target) is None
        server.start()
        one.ready()
        one.main(target).click()
        one.until(target, "like", 1)


def test_a_page_on_another_origin(board: Open, tmp_path: Path, target: str) -> None:
    with ServerProcess(tmp_path / "data", env={"PLAUDIT_CORS_ORIGINS": '["*"]'}) as server:
        one = board(server)
        # The same machine, and for a browser another origin. A page of its own, or it may not speak to loopback.
        one.failures_expected = True  # there is no icon for the tab
        elsewhere = f"http://localhost:{server.port}/healthz"
        one.page.goto(elsewhere)
        script = f"{server.url}/widget/plaudit-bar.js"
        one.page.evaluate(FOREIGN, [script, target, server.token("alice")])
        one.ready().live()
        Service(server).tap("bob", target)
        one.until(target, None, 1)
        one.pick(target, "Wow")
        one.until(target, "wow", 2)
        one.requests = [sent for sent in one.requests if not sent.url.startswith("http://localhost")]
        one.close()


def test_a_path_of_a_picture_is_on_the_site_of_the_page(board: Open, tmp_path: Path, target: str) -> None:
    with ServerProcess(tmp_path / "data", env={"PLAUDIT_CORS_ORIGINS": '["*"]'}) as server:
        service = Service(server)
        service.call("PUT", "/users/bob", {"name": "Bob", "avatar_url": "/faces/bob.png"})
        service.tap("bob", target)
        one = board(server)
        one.failures_expected = True  # there is no icon for the tab
        site = f"http://localhost:{server.port}"
        one.page.goto(f"{site}/healthz")
        asked: list[Request] = []

        def picture(route: Route) -> None:
            asked.append(route.request)
            route.fulfill(body=b"GIF89a", content_type="image/gif")

        one.page.route("**/faces/*", picture)
        one.page.evaluate(FOREIGN, [f"{server.url}/widget/plaudit-bar.js", target, server.token("alice")])
        one.ready()
        one.bar(target).locator(".count").click()
        one.wait(lambda: len(asked) == 1)
        assert asked[0].url == f"{site}/faces/bob.png"
        assert "referer" not in asked[0].headers
        one.requests = [sent for sent in one.requests if not sent.url.startswith(site)]
        one.close()


def test_the_language_is_that_of_what_is_around_it_out_of_shadow_roots(board: Open, target: str) -> None:
    one = board().open([target], "alice").ready()
    one.page.evaluate(IN_SHADOW)
    one.page.wait_for_function(
        "() => document.querySelector('#outer').shadowRoot.querySelector('#inner').shadowRoot"
        ".querySelector('plaudit-bar').shadowRoot.querySelector('.label').textContent === 'Gefällt mir'"
    )


# The bar goes two shadow roots deep, below an element with a language.
IN_SHADOW = """() => {
  const [outer, inner] = ["outer", "inner"].map(id => Object.assign(document.createElement("div"), {id}));
  outer.lang = "de";
  inner.attachShadow({mode: "open"}).append(document.querySelector("plaudit-bar"));
  outer.attachShadow({mode: "open"}).append(inner);
  document.body.append(outer);
}"""


@pytest.mark.parametrize("modules", ["all", "first"])
def test_a_bar_that_is_moved_stays_as_it_is(board: Open, service: Service, target: str, modules: str) -> None:
    service.tap("alice", target, "love")
    one = board()
    one.failures_expected = True
    if modules == "first":
        one.page.route("**/later.js", lambda route: None)
    one.open([target], "alice").ready()
    one.context.set_offline(True)
    for _ in range(2):
        assert one.page.evaluate(MOVED) == [False] * 6
    one.until(target, "love", 1)
    one.context.set_offline(False)
    one.main(target).click()
    one.until(target, None, 0)
    assert len(one.sent("POST", "/reactions/feed")) == 1


# To the end of the page and back; whether the bar was blank at once and in the frames after that.
MOVED = """async () => {
  const card = document.querySelector("article"), bar = card.querySelector("plaudit-bar");
  const blank = () => !bar.counts || bar.shadowRoot.querySelector(".bar").hidden;
  (card.parentNode === document.body ? document.querySelector("main") : document.body).append(card);
  const found = [blank()];
  for (let frames = 0; frames < 5; frames += 1) {
    await new Promise(requestAnimationFrame);
    found.push(blank());
  }
  return found;
}"""


@pytest.mark.parametrize("user", ["alice", None])
def test_a_bar_alone_gets_another_target_before_all_modules_are_there(
    board: Open, target: str, user: str | None
) -> None:
    one = board()
    later: list[Route] = []
    one.page.route("**/later.js", lambda route: later.append(route))
    one.open([target], user).ready()
    one.wait(lambda: len(later) == 1)
    other = fresh("post:")
    one.bar(target).evaluate("(bar, other) => { bar.target = other; }", other)
    one.until(other, None, 0)
    one.ready()
    later[0].continue_()
    one.live()


def test_properties_set_before_the_module_came_can_be_set_again(
    board: Open, server: ServerProcess, service: Service, target: str
) -> None:
    one = board().open([], module=False)
    one.page.evaluate(UNDEFINED, [target, server.token("alice")])
    one.page.evaluate("() => import('/widget/plaudit-bar.js').then(() => {})")
    one.ready()
    other = fresh("post:")
    bar = one.page.locator("plaudit-bar")
    bar.evaluate("(bar, other) => { bar.target = other; }", other)
    one.ready()
    bar.locator(".react").click()
    one.wait(lambda: bar.evaluate("bar => !bar.pending"))
    assert service.stored("alice", target)["own"] is None
    assert service.stored("alice", other)["own"] == "like"


UNDEFINED = """([target, token]) => {
  const bar = Object.assign(document.createElement("plaudit-bar"), {target, token});
  document.querySelector("main").append(bar);
}"""


SENTENCE = (
    "text => document.querySelector('plaudit-bar').shadowRoot.querySelector('.sentence').textContent === text"
)
FOREIGN = """([src, target, token]) => {
  document.body.replaceChildren();
  document.head.append(Object.assign(document.createElement("script"), {type: "module", src}));
  const bar = document.createElement("plaudit-bar");
  bar.setAttribute("target", target);
  bar.setAttribute("token", token);
  document.body.append(bar);
}"""
