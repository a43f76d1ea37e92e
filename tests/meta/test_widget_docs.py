"""docs/widget.md names everything that a page can touch, and nothing that is not there."""

import re

import pytest

from tests.meta.files import ROOT, SRC

PAGE = (ROOT / "docs" / "widget.md").read_text(encoding="utf-8")
BAR = (SRC / "widget" / "plaudit-bar.js").read_text(encoding="utf-8")
ALL = "".join(
    path.read_text(encoding="utf-8")
    for path in sorted((SRC / "widget").glob("*.js"))
    if "bell" not in path.name  # docs/notifications.md is its page
)
NOT_OF_THE_BAR = {
    "isNear",
    "changed",
    "late",
    "saved",
    "refused",
    "moved",
    "draw",
}  # for the session and the page


def section(title: str) -> str:
    """The text below a heading."""
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def cells(title: str) -> set[str]:
    """What stands in backticks in the first column of the tables of a section."""
    rows = re.findall(r"^\| (`[^|]*) \|", section(title), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_attributes() -> None:
    watched = re.search(r"observedAttributes = \[([^\]]*)\]", BAR)
    assert watched
    styled = set(re.findall(r":host\(\[(\w+)\]\)", ALL)) - {"hidden"}
    assert cells("Attributes") == set(re.findall(r'"([\w-]+)"', watched[1])) | styled


def test_properties_and_methods() -> None:
    public = set(re.findall(r"^  (?:static |async |get |set )*([a-z]\w*)\([^)]*\) \{$", BAR, re.MULTILINE))
    callbacks = {"constructor", "connectedCallback", "disconnectedCallback", "attributeChangedCallback"}
    documented = {re.sub(r"^PlauditBar\.|\(.*", "", name) for name in cells("Properties and methods")}
    assert documented == public - callbacks - NOT_OF_THE_BAR


def test_events() -> None:
    assert cells("Events") == set(re.findall(r'#dispatch\("([\w-]+)"', BAR))


@pytest.mark.parametrize(
    ("pattern", "prefix"), [(r"var\((--plaudit-[\w-]+)", "--"), (r'(?:button\(|part: )"([a-z]+)"', "")]
)
def test_custom_properties_and_parts(pattern: str, prefix: str) -> None:
    documented = {name for name in cells("Looks") if name.startswith("--") == bool(prefix)}
    assert documented == set(re.findall(pattern, ALL))


def test_the_methods_of_the_client() -> None:
    client = (SRC / "widget" / "plaudit-client.js").read_text(encoding="utf-8")
    public = set(re.findall(r"^  (?:async\*? )?([a-z]\w*)\(.*\) \{$", client, re.MULTILINE)) - {"constructor"}
    methods = section("Without the element").split("Methods:", 1)[1].split(". What", 1)[0]
    assert set(re.findall(r"`(\w+)`", methods)) == public


def test_languages() -> None:
    languages = re.search(r"LANGUAGES = new Set\(\[([^\]]*)\]", ALL)
    assert languages
    there = {path.stem for path in (SRC / "widget" / "texts").glob("*.js")}
    assert set(re.findall(r'"(\w+)"', languages[1])) == there
    assert len(there) + 1 == len(
        re.findall(r"Arabic|English|French|German|Japanese|Spanish", section("Attributes"))
    )
