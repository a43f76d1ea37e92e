"""What people copy from the snippets page: the page works, and signed tokens are accepted."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from tests.conftest import missing
from tests.support.server import ServerProcess

SECRET = "a secret that is only good enough for tests"
SNIPPETS = files("plaudit") / "widget" / "demo" / "snippets"
USER = "auth0|5f7c8ec7c33c6c004bbafe82"
SIGNED = {
    "python": (
        sys.executable,
        "sign_python.txt",
        "sign.py",
        "import sign, sys; print(sign.plaudit_token(sys.argv[1]))",
    ),
    "node": (
        "node",
        "sign_node.txt",
        "sign.mjs",
        "const { plauditToken } = await import('./sign.mjs'); console.log(plauditToken(process.argv[1]));",
    ),
    "php": ("php", "sign_php.txt", "sign.php", "require 'sign.php'; echo plaudit_token($argv[1]);"),
}
EVALUATE = {"python": ["-c"], "node": ["--input-type=module", "--eval"], "php": ["-r"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("snippets") / "data"
    with ServerProcess(data, env={"PLAUDIT_AUTH_SECRET": SECRET}, demo=True) as running:
        yield running


def snippet(name: str) -> str:
    return (SNIPPETS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("language", SIGNED)
def test_a_token_signed_by_the_snippet_is_accepted(
    server: ServerProcess, language: str, tmp_path: Path
) -> None:
    program, name, saved, code = SIGNED[language]
    if shutil.which(program) is None:
        missing(program, "'make test' as root on Debian installs it")
    (tmp_path / saved).write_text(snippet(name), encoding="utf-8")
    run = subprocess.run(
        [program, *EVALUATE[language], code, USER],
        cwd=tmp_path,
        env={**os.environ, "PLAUDIT_AUTH_SECRET": SECRET},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    body = {"target_id": f"signed:{language}", "reaction_type": "like"}
    headers = {"Authorization": f"Bearer {run.stdout.strip()}"}
    assert httpx.put(f"{server.url}/api/v1/reactions", json=body, headers=headers).status_code == 200
    reactors = httpx.get(f"{server.url}/api/v1/reactions/signed:{language}/reactors").json()["reactors"]
    assert [each["user"]["id"] for each in reactors] == [USER]


@pytest.mark.browser
@pytest.mark.parametrize("name", ["page.txt", "renew.txt"])
def test_a_page_made_of_the_snippet_takes_a_tap(server: ServerProcess, browser: Browser, name: str) -> None:
    token = server.token("snippet-user")
    html = snippet(name).replace("THE_TOKEN_OF_THIS_USER", token)
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/my-page", lambda route: route.fulfill(body=html, content_type="text/html"))
        page.route("**/plaudit-token", lambda route: route.fulfill(body=token))
        page.goto(f"{server.url}/my-page")
        bar = page.locator("plaudit-bar[target='post:42']")
        before = httpx.get(f"{server.url}/api/v1/reactions/post:42").json()["counts"]["version"]
        bar.locator(".react").click()
        page.wait_for_function(
            "version => { const bar = document.querySelector('plaudit-bar');"
            " return bar.counts?.version > version && !bar.pending; }",
            arg=before,
        )


def test_every_snippet_is_on_the_page_as_it_is(server: ServerProcess) -> None:
    page = httpx.get(f"{server.url}/demo/snippets").text
    assert "<!-- snippets/" not in page
    shown = re.findall(r"<pre tabindex=\"0\"><code>(.*?)</code></pre>", page, re.DOTALL)
    assert len(shown) == len(list(SNIPPETS.iterdir()))
    assert all("<script" not in text for text in shown), "as text, never as markup"


@pytest.mark.browser
def test_the_page_copies(server: ServerProcess, browser: Browser) -> None:
    with browser.new_context(permissions=["clipboard-read", "clipboard-write"]) as context:
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{server.url}/demo/snippets")
        page.get_by_role("button", name="Copy").first.click()
        page.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == snippet("page.txt")
        assert complaints == []
