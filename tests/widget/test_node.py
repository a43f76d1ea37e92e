"""The widget without a page: its types, its rules, and that every language says everything."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.server import ServerProcess

HERE = Path(__file__).parent
WIDGET = HERE.parents[1] / "src" / "plaudit" / "widget"


def run(*command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=HERE,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_types_are_right(packages: Path) -> None:
    ended = run(packages / ".bin" / "tsc", "--project", HERE)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.usefixtures("packages")
def test_the_rules_hold(node: str) -> None:
    ended = run(node, "--test", "--test-reporter=tap", "state.test.js", "transport.test.js")
    assert ended.returncode == 0, ended.stdout


def test_the_client_does_what_all_clients_do(node: str, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        secret = (server.data / "secret").read_text().strip()
        env = {"PLAUDIT_TEST_URL": server.url, "PLAUDIT_TEST_SECRET": secret}
        ended = run(node, "--test", "--test-reporter=tap", "client.test.js", **env)
    assert ended.returncode == 0, ended.stdout
    assert "# skipped 0" in ended.stdout


SNIPPETS = WIDGET / "demo" / "snippets"
BAR = re.compile(r"<plaudit-bar\s([^<]*?)/?>", re.DOTALL)
NAME = re.compile(r"([:@]?[\w-]+)(?:\.prop)?=")


@pytest.mark.parametrize("name", ["react", "vue"])
def test_a_snippet_is_a_program(packages: Path, tmp_path: Path, name: str) -> None:
    text = (SNIPPETS / f"{name}.txt").read_text(encoding="utf-8")
    if name == "vue":
        text = text.partition("<script setup>")[2].partition("</script>")[0]
    (tmp_path / "snippet.jsx").write_text(text, encoding="utf-8")
    tsc = packages / ".bin" / "tsc"
    ended = run(tsc, "--ignoreConfig", "--noEmit", "--allowJs", "--jsx", "preserve", tmp_path / "snippet.jsx")
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("name", ["react", "vue", "django", "page"])
def test_a_snippet_says_nothing_that_a_bar_does_not_know(name: str) -> None:
    bar = (WIDGET / "plaudit-bar.js").read_text(encoding="utf-8")
    (watched,) = re.findall(r"observedAttributes = \[([^\]]*)\]", bar)
    known = {*re.findall(r"[\w-]+", watched), "sign-in", "compact", "ref"}
    tags = BAR.findall((SNIPPETS / f"{name}.txt").read_text(encoding="utf-8"))
    assert tags
    for said in {said for tag in tags for said in NAME.findall(tag)}:
        if said.startswith("@"):
            assert f'"{said[1:]}"' in bar, said
        else:
            assert said.removeprefix(":") in known, said


TEXTS = """
const { texts } = await import(process.argv[1]);
console.log(JSON.stringify(Object.fromEntries(Object.entries(texts).map(([key, text]) =>
  [key, typeof text === "string" ? (text.match(/\\{\\w+\\}/g) ?? []).sort() : Object.keys(text).sort()]))));
"""
RULES = (
    "console.log(JSON.stringify(new Intl.PluralRules(process.argv[1]).resolvedOptions().pluralCategories))"
)


@pytest.mark.parametrize("lang", sorted(path.stem for path in (WIDGET / "texts").glob("*.js")))
def test_a_language_says_everything_with_its_own_plurals(node: str, lang: str) -> None:
    def shape(code: str) -> dict[str, list[str]]:
        ended = run(node, "--input-type=module", "--eval", TEXTS, WIDGET / "texts" / f"{code}.js")
        return dict(json.loads(ended.stdout))

    spoken, german = shape(lang), shape("de")
    plurals = {"others", "reactions"}
    assert spoken.keys() == german.keys()
    assert {key: shape for key, shape in spoken.items() if key not in plurals} == {
        key: shape for key, shape in german.items() if key not in plurals
    }
    categories = set(json.loads(run(node, "--eval", RULES, lang).stdout)) - {"other"}
    for key in plurals:
        assert "other" in spoken[key]
        # Millions of people have their own form in French and Spanish; the bar says it as any other number.
        assert categories - {"many"} <= set(spoken[key]) or lang == "ja"
        assert lang != "ar" or set(spoken[key]) == categories | {"other"}
