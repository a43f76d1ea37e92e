"""The demo page in a real Chromium, against a real server."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, expect

from plaudit.services.demo import TARGETS, USERS
from plaudit.services.viral import TAPS
from tests.conftest import missing
from tests.e2e.visit import Visit, stored
from tests.support.server import ServerProcess

pytestmark = pytest.mark.browser

ALICE, BOB, EMI, GRACE = "demo-alice", "demo-bob", "demo-emi", "demo-grace"
LAKE, TEA, TRAIL = "demo:lake", "demo:lake-tea", "demo:lake-trail"
BREAD, CAT, BUS, VOTE, MESSAGE = "demo:bread", "demo:cat", "demo:bus", "demo:vote", "demo:message"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 320, "height": 640}
AXE = Path(__file__).parents[1] / "widget" / "node_modules" / "axe-core" / "axe.min.js"
RULES = "['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']"

Open = Callable[..., Visit]


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

    def open_one(path: str = "/demo", server: ServerProcess | None = None, **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": WIDE, **options})
        visits.append(Visit(server or shared, context))
        return visits[-1].open(path)

    yield open_one
    for visit in visits:
        visit.close()


def test_one_feed_for_two_people(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page()
    assert (visit.user(0), visit.user(1)) == (EMI, BOB)
    for at in (0, 1):
        assert visit.side(at).locator("article").count() == len(TARGETS)
        assert visit.side(at).locator("option").count() == len(USERS)
    pictures = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth > 0)))"
    assert all(visit.page.evaluate(pictures))
    assert visit.state(0, LAKE) == stored(shared, EMI, LAKE)
    assert visit.state(1, LAKE) == stored(shared, BOB, LAKE)
    assert visit.state(1, LAKE)["own"] == "like"
    sentence = visit.bar(0, LAKE).locator(".sentence")
    expect(sentence).not_to_be_empty()  # drawn with the next frame
    marks = "[\u2068\u2069]"  # which keep names of other scripts in their place
    told = re.sub(marks, "", sentence.inner_text())
    assert told == "Bob Okafor, Grace Kim and 4 others"
    expect(visit.page.locator("plaudit-bell")).to_have_count(2)
    asked = [sent.url for sent in visit.requests if "/reactions/" in sent.url]
    assert len([url for url in asked if url.endswith("/feed")]) <= 4, (
        "a request for many targets, for each of two"
    )


def test_what_one_does_the_other_sees(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page()
    total = visit.state(0, LAKE)["total"]
    visit.state(1, LAKE)
    visit.tap(0, LAKE)
    assert visit.state(0, LAKE)["own"] == "like"
    visit.until(0, LAKE, "like", total + 1)
    visit.until(1, LAKE, "like", total + 1)
    assert stored(shared, EMI, LAKE) == visit.state(0, LAKE)
    visit.tap(1, LAKE)
    visit.until(1, LAKE, None, total)
    visit.until(0, LAKE, "like", total)
    visit.tap(1, LAKE)
    visit.until(0, LAKE, "like", total + 1)


def test_each_user_has_an_own_state_and_the_window_remembers_who(
    open_page: Open, shared: ServerProcess
) -> None:
    visit = open_page()
    visit.become(0, ALICE)
    total = visit.state(0, BUS)["total"]
    visit.tap(0, BUS)
    visit.until(0, BUS, "like", total + 1)
    visit.become(0, GRACE)
    visit.until(0, BUS, None, total + 1)
    visit.page.reload()
    visit.settled()
    assert (visit.user(0), visit.user(1)) == (GRACE, BOB)
    assert visit.state(0, BUS) == stored(shared, GRACE, BUS)


def test_nobody_is_on_both_sides(open_page: Open) -> None:
    visit = open_page()
    visit.become(0, BOB)
    assert visit.user(0) == BOB
    assert visit.user(1) != BOB


def test_a_message_is_for_those_who_are_granted_it(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page()
    total = visit.state(0, MESSAGE)["total"]
    visit.tap(0, MESSAGE)
    visit.until(0, MESSAGE, "like", total + 1)
    visit.state(1, MESSAGE)
    visit.until(1, MESSAGE, None, total + 1)
    assert stored(shared, EMI, MESSAGE)["own"] == "like"


def test_a_closed_post_takes_nothing(open_page: Open, shared: ServerProcess) -> None:
    visit = open_page()
    before = visit.state(0, VOTE)
    button = visit.bar(0, VOTE).locator(".react")
    expect(button).to_have_attribute("aria-disabled", "true")
    button.click(force=True)
    assert visit.state(0, VOTE) == before == stored(shared, EMI, VOTE)


@pytest.mark.timeout(300)
def test_it_goes_viral_while_both_watch(open_page: Open, shared: ServerProcess) -> None:
    visit, other = open_page(), open_page()
    before = visit.state(0, LAKE)["total"]
    visit.page.get_by_role("button", name="Make it go viral").click()
    seen = [before]
    while visit.page.locator("#viral").is_disabled():
        seen.append(visit.bar(0, LAKE).evaluate("bar => bar.counts.total"))
        visit.page.wait_for_timeout(100)
    assert seen == sorted(seen)
    assert len(set(seen)) > 5, "counts climb while one watches"
    with urlopen(f"{shared.url}/demo/viral") as response:
        taps = json.load(response)["taps"]
    assert TAPS / 2 < taps <= TAPS, "a slow disk has some refused"
    expect(visit.page.locator("#viral-state")).to_have_text(f"{taps:,} taps stored")
    after = stored(shared, ALICE, LAKE)["total"]
    assert before + taps <= after <= before + TAPS, "one whose outcome was unknown may be there"
    for at in (0, 1):
        visit.until(at, LAKE, visit.state(at, LAKE)["own"], after)
    other.until(0, LAKE, other.state(0, LAKE)["own"], after)
    for gauge in ("taps", "latency", "staleness"):
        shown = visit.page.locator(f"[data-gauge={gauge}]")
        assert re.search(r"[1-9]", shown.locator("dd").inner_text()), gauge
        assert len(shown.locator(".line").get_attribute("d") or "") > 50
    names = visit.bar(0, LAKE).locator(".sentence").inner_text()
    assert "demo-fan" not in names


@pytest.mark.parametrize("at", [0, 1])
def test_on_a_phone_there_is_one_side_at_a_time(open_page: Open, at: int) -> None:
    visit = open_page(viewport=NARROW)
    names = ["Emi Tanaka", "Bob Okafor"]
    visit.page.get_by_role("group", name="Who is shown").get_by_role("button", name=names[at]).click()
    assert [visit.side(each).is_visible() for each in (0, 1)] == [at == 0, at == 1]
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    total = visit.state(at, CAT)["total"]
    visit.tap(at, CAT)
    own = visit.state(at, CAT)["own"]
    visit.until(at, CAT, own, total + (1 if own else -1))


@pytest.mark.parametrize("path", ["/demo", "/demo/snippets"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_axe_finds_nothing(open_page: Open, path: str, scheme: str, viewport: dict[str, int]) -> None:
    if not AXE.exists():
        missing("axe-core", "'make test' installs it where npm is")
    visit = open_page(path, viewport=viewport, color_scheme=scheme, bypass_csp=True)
    if path == "/demo":
        visit.state(0, LAKE)
    visit.page.add_script_tag(path=AXE)
    found = visit.page.evaluate(f"axe.run(document, {{runOnly: {RULES}}}).then(r => r.violations)")
    assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_a_server_that_is_away_comes_back(open_page: Open, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", demo=True) as server:
        visit = open_page(server=server)
        visit.failures_expected = True
        total = visit.state(0, BREAD)["total"]
        server.stop()
        visit.tap(0, BREAD)
        own = visit.state(0, BREAD)["own"]
        server.start()
        visit.until(0, BREAD, own, total + (1 if own else -1))
        assert stored(server, EMI, BREAD)["own"] == own
