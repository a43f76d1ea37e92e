"""What `plaudit serve --demo` answers under /demo, and what it refuses to start with."""

import json
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from plaudit.services.demo import GRANT, TARGETS, USERS
from plaudit.services.viral import LASTS_S
from tests.support.server import ServerProcess


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


def ask(url: str, body: object = None, **headers: str) -> Answer:
    """GET, or POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers = {"content-type": "application/json", **headers}
    try:
        with urlopen(Request(url, data, headers)) as response:
            return Answer(response.status, response.headers, response.read())
    except HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("demo") / "data", demo=True) as running:
        yield running


def test_the_page_and_its_files_let_nothing_foreign_in(server: ServerProcess) -> None:
    page = ask(f"{server.url}/demo")
    assert page.status == 200
    assert page.headers.get_content_type() == "text/html"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert b"<style" not in page.body
    assert b"style=" not in page.body
    script = ask(f"{server.url}/demo/assets/demo.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["x-content-type-options"] == "nosniff"


def test_the_bare_address_leads_to_the_page(server: ServerProcess) -> None:
    assert ask(f"{server.url}/").body == ask(f"{server.url}/demo").body


def test_an_unchanged_file_is_not_sent_again(server: ServerProcess) -> None:
    first = ask(f"{server.url}/demo/assets/demo.css")
    again = ask(f"{server.url}/demo/assets/demo.css", **{"if-none-match": first.headers["etag"]})
    assert (first.status, again.status, again.body) == (200, 304, b"")


@pytest.mark.parametrize("user", USERS)
def test_everybody_has_a_picture(server: ServerProcess, user: Any) -> None:
    picture = ask(server.url + user.avatar_url)
    assert (picture.status, picture.headers["content-type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize(
    "path", ["/demo/assets/none.js", "/demo/assets/..%2f..%2fcli.py", "/demo/avatars/bob.svg"]
)
def test_there_is_no_other_file(server: ServerProcess, path: str) -> None:
    answer = ask(server.url + path)
    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_the_content_is_the_table(server: ServerProcess) -> None:
    content = ask(f"{server.url}/demo/content").json
    assert [user["id"] for user in content["users"]] == [user.id for user in USERS]
    assert [target["id"] for target in content["targets"]] == [target.id for target in TARGETS]
    for target in content["targets"]:
        if target["picture"]:
            assert ask(f"{server.url}/demo/assets/{target['picture']['file']}").status == 200


def test_a_token_is_for_a_demo_user_and_opens_the_message(server: ServerProcess) -> None:
    answer = ask(f"{server.url}/demo/token", {"user": "demo-alice"})
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json["expires_in"] <= 3600
    bearer = {"authorization": f"Bearer {answer.json['token']}"}
    feed = ask(f"{server.url}/api/v1/reactions/feed", {"target_ids": ["demo:message"]}, **bearer)
    assert feed.json["targets"]["demo:message"]["reaction"] is None
    assert GRANT == "demo:*"
    host_app = ask(f"{server.url}/api/v1/jobs/none", **bearer)
    assert (host_app.status, host_app.json["code"]) == (403, "scope_missing")


@pytest.mark.parametrize("target", ["demo:vote", "post:42", "demo:nothing", ""])
def test_only_an_open_demo_target_goes_viral(server: ServerProcess, target: str) -> None:
    answer = ask(f"{server.url}/demo/viral", {"target": target})
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert ask(f"{server.url}/demo/viral").json["running"] is False


def test_one_crowd_at_a_time_and_a_stop_does_not_wait_for_it(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", demo=True) as crowded:
        first = ask(f"{crowded.url}/demo/viral", {"target": "demo:cat"})
        again = ask(f"{crowded.url}/demo/viral", {"target": "demo:bread"})
        assert (first.status, again.status) == (202, 200)
        assert again.json["target"] == "demo:cat"
        assert crowded.stop(within_s=LASTS_S * 0.75) == 0
    assert "Traceback" not in crowded.log


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"user": "alice"}, 404, "not_found"),
        ({"user": "demo-nobody"}, 404, "not_found"),
        ({"user": ""}, 404, "not_found"),
        ({"user": 7}, 422, "invalid_field"),
        ({}, 422, "missing_field"),
        ({"user": "demo-bob", "scope": "service"}, 422, "unknown_field"),
    ],
)
def test_nobody_else_gets_a_token(server: ServerProcess, body: object, status: int, code: str) -> None:
    answer = ask(f"{server.url}/demo/token", body)
    assert (answer.status, answer.json["code"]) == (status, code)


def test_where_it_is_off_it_says_how_to_switch_it_on(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as off:
        for answer in (
            ask(f"{off.url}/demo"),
            ask(f"{off.url}/demo/content"),
            ask(f"{off.url}/demo/token", {"user": "demo-bob"}),
        ):
            assert (answer.status, answer.json["code"]) == (404, "not_found")
            assert "plaudit serve --demo" in answer.json["detail"]
        bearer = {"authorization": f"Bearer {off.token('demo-bob')}"}
        feed = ask(f"{off.url}/api/v1/reactions/feed", {"target_ids": ["demo:bread"]}, **bearer)
        assert feed.json["targets"]["demo:bread"]["counts"]["version"] == 0


def test_it_does_not_start_where_it_cannot_sign_tokens(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", env={"PLAUDIT_JWKS": "keys.json"}, demo=True)
    with pytest.raises(AssertionError, match="demo and jwks"):
        server.start()


def test_it_warns_where_others_can_reach_it(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "open", env={"PLAUDIT_HOST": "0.0.0.0"}, demo=True) as server:
        assert '"level": "warning"' in server.log
        assert "act as a demo user" in server.log
    with ServerProcess(tmp_path / "local", demo=True) as server:
        assert '"level": "warning"' not in server.log
