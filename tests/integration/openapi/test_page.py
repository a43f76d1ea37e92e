"""The docs page stands alone, under its own policy, and leads to everything it speaks of."""

import re
from base64 import b64encode
from collections import Counter
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from plaudit.domain.catalogue import Catalogue
from plaudit.http.calls import CALLS
from plaudit.http.openapi import docs_page, document
from plaudit.http.problems import CODES

VOID = {"meta", "input", "br", "link"}
IMPLIED = {"li"}  # HTML lets their end tags go


class Reader(HTMLParser):
    """What a page holds, and whether its tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.links: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID | IMPLIED:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id" and value:
                self.ids[value] += 1
            if name in {"href", "src"} and value:
                self.links.append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag not in IMPLIED:
            assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"


@pytest.fixture(scope="module")
def page() -> str:
    return docs_page(document(Catalogue()))


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_nothing_is_asked_of_anybody_else(page: str, read: Reader) -> None:
    assert [link for link in read.links if not link.startswith("#")] == ["openapi.json"]
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", page)


def test_it_works_under_its_own_policy(page: str, read: Reader) -> None:
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert found is not None
    policy = unescape(found[1])
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not {name for name in read.attributes if name == "style" or name.startswith("on")}


def test_every_link_within_leads_somewhere_and_nothing_is_there_twice(read: Reader) -> None:
    assert {link[1:] for link in read.links if link.startswith("#")} - set(read.ids) == set()
    assert [id_ for id_, count in read.ids.items() if count > 1] == []


def test_every_call_and_every_code_is_on_it(page: str, read: Reader) -> None:
    assert {call.id for call in CALLS} <= set(read.ids)
    assert {f"error-{code}" for code in CODES} <= set(read.ids)
    assert all(call.path.partition("{")[0] in page for call in CALLS)


def test_what_comes_from_outside_is_escaped() -> None:
    described = document(Catalogue())
    described["paths"]["/docs"]["get"]["summary"] = "<b>x</b> & <script>"
    described["info"]["description"] = "`<i>` <u>"
    page = docs_page(described)
    assert "&lt;b&gt;x&lt;/b&gt; &amp; &lt;script&gt;" in page
    assert "<code>&lt;i&gt;</code> &lt;u&gt;" in page
    assert page.count("<script>") == 1


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1440])
def test_a_browser_shows_it_without_a_complaint(
    page: str, width: int, browser: Browser, tmp_path: Path
) -> None:
    """Nothing is wider than the screen, the policy forbids nothing that is there, and a link leads to its code."""
    file = tmp_path / "docs.html"
    file.write_text(page, encoding="utf-8")
    complaints: list[str] = []
    with browser.new_context(viewport={"width": width, "height": 780}) as context:
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(f"{file.as_uri()}#error-target_closed")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("getComputedStyle(document.querySelector('.panel')).overflow") == "hidden"
        assert tab.locator("#error-target_closed").is_visible()
    assert complaints == []
