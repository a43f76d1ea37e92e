"""The widget as a browser gets it: whole, small, cached for ever, and from any origin."""

import json
import re

import pytest

from plaudit.http.widget import read_widget, served
from tests.support.api import Api, assert_problem

EAGER_BYTES = 12 * 1024
IMPORT = re.compile(rb'^(?:import|export) .*?from "\./([\w./-]+)";$', re.MULTILINE)
LAZY = re.compile(rb'import\("\./([\w./-]+)"\)')


def eager(name: str) -> set[str]:
    """The modules that a browser loads before it runs this one, itself included."""
    found, waiting = {name}, [name]
    while waiting:
        for more in IMPORT.findall(read_widget()[waiting.pop()].body):
            if more.decode() not in found:
                found.add(more.decode())
                waiting.append(more.decode())
    return found


def test_what_shows_and_taps_is_small() -> None:
    modules = read_widget()
    sizes = {name: len(modules[name].gzipped) for name in eager("plaudit-bar.js")}
    assert sum(sizes.values()) <= EAGER_BYTES, sizes


def test_every_module_that_another_one_names_is_there() -> None:
    modules = read_widget()
    named = {
        name.decode()
        for one in modules.values()
        for name in IMPORT.findall(one.body) + LAZY.findall(one.body)
    }
    assert named - modules.keys() == set()


def test_comments_are_left_out() -> None:
    source = b"""/** What. */
const a = /** @type {any} */ (1);
  /**
   * Why.
   */
  // how
  go("https://x"); // end
"""
    assert served(source) == b'const a = (1);\ngo("https://x");\n'


def test_what_looks_like_a_comment_in_a_text_stays() -> None:
    source = b'go("see // this", `https://x`, "a;// b");\n'
    assert served(source) == source
    assert not any(re.search(rb"[;,{}()] // ", one.body) for one in read_widget().values())


@pytest.mark.parametrize("claim", ["sub", "uid", 'https://app.example/"id"\\'])
def test_the_claim_that_names_the_user_is_in_it(claim: str) -> None:
    transport = read_widget(claim)["transport.js"].body.decode()
    (said,) = re.findall(r"^const CLAIM = (.+);$", transport, re.MULTILINE)
    assert json.loads(said) == claim


async def test_the_name_leads_to_a_version_that_is_kept_for_ever(api: Api) -> None:
    first = await api.call("GET", "/widget/plaudit-bar.js", status=307)
    assert first.headers["cache-control"] == "public, max-age=300"
    assert first.headers["access-control-allow-origin"] == "*"
    place = f"/widget/{first.headers['location']}"
    module = await api.call("GET", place, headers={"accept-encoding": "gzip"})
    assert module.headers["content-type"] == "text/javascript; charset=utf-8"
    assert module.headers["content-encoding"] == "gzip"
    assert module.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert module.headers["access-control-allow-origin"] == "*"
    assert module.content == read_widget()["plaudit-bar.js"].body
    plain = await api.call("GET", place, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == module.content
    again = await api.call("GET", place, headers={"if-none-match": module.headers["etag"]}, status=304)
    assert again.content == b""


async def test_a_page_from_before_an_upgrade_gets_what_there_is(api: Api) -> None:
    old = await api.call("GET", "/widget/0123456789ab/dialog.js")
    assert (old.status_code, old.headers["cache-control"]) == (200, "no-cache")
    await api.call("GET", "/widget/0123456789ab/texts/de.js")


@pytest.mark.parametrize(
    "path",
    [
        "/widget/", "/widget/nothing.js", "/widget/x/nothing.js", "/widget/x/../../settings.py",
        "/widget/x/demo/demo.js", "/widget/x/package.json", "/widget/..%2f..%2fsettings.py",
    ],
)  # fmt: skip
async def test_nothing_else_is_there(api: Api, path: str) -> None:
    assert_problem(await api.client.get(path), "not_found")
