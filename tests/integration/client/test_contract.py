"""The Python library does what tests/contract/client_cases.json says, blocking and with asyncio."""

import asyncio
import dataclasses
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import httpx
import pytest

from plaudit.client import AsyncClient, Client, PlauditError, Retries
from tests.support.api import fresh
from tests.support.server import ServerProcess

Json = dict[str, Any]
Caller = Callable[..., Any]

CONTRACT: Json = json.loads((Path(__file__).parents[2] / "contract" / "client_cases.json").read_text())
BRIEFLY = Retries(first_s=0.001)
KINDS = ("blocking", "asyncio")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    env = {"PLAUDIT_RATE_LIMIT_PER_S": "0"}
    with ServerProcess(tmp_path_factory.mktemp("client") / "data", env=env) as running:
        yield running


class Recorder:
    """What a library sends, as the contract writes it."""

    def __init__(self) -> None:
        self.sent: list[Json] = []
        self.keys: set[str] = set()

    def note(self, request: httpx.Request) -> None:
        key = request.headers.get("idempotency-key")
        self.keys |= {key} if key else set()
        found: Json = {
            "method": request.method,
            "path": unquote(request.url.raw_path.decode().partition("?")[0]),
            "query": dict(parse_qsl(request.url.query.decode())),
            "key": key is not None,
        }
        if request.content:
            found["body"] = json.loads(request.content)
        if "plaudit-user" in request.headers:
            found["acts"] = request.headers["plaudit-user"]
        if "plaudit-route" in request.headers:
            found["route"] = request.headers["plaudit-route"]
        self.sent.append(found)

    def forget(self) -> None:
        self.sent.clear()
        self.keys.clear()

    async def note_async(self, request: httpx.Request) -> None:
        self.note(request)


def perform(kind: str, url: str, token: Any, calls: list[list[Any]], recorder: Recorder) -> Any:
    """Make calls and return what the last one gives as the JSON of the API; only that one is recorded."""
    if kind == "blocking":
        http = httpx.Client(event_hooks={"request": [recorder.note]})
        with http, Client(url, token, retries=BRIEFLY, http=http) as client:
            found: Any = None
            for name, arguments in calls:
                recorder.forget()
                found = getattr(client, name)(**arguments)
            return plain(list(found) if isinstance(found, Iterator) else found)
    return asyncio.run(_perform(url, token, calls, recorder))


async def _perform(url: str, token: Any, calls: list[list[Any]], recorder: Recorder) -> Any:
    http = httpx.AsyncClient(event_hooks={"request": [recorder.note_async]})
    async with http, AsyncClient(url, token, retries=BRIEFLY, http=http) as client:
        found: Any = None
        for name, arguments in calls:
            recorder.forget()
            called = getattr(client, name)(**arguments)
            if isinstance(called, AsyncIterator):
                found = [entry async for entry in called]
            else:
                assert isinstance(called, Coroutine)
                found = await called
        return plain(found)


def plain(value: Any) -> Any:
    """As JSON."""
    if isinstance(value, datetime):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def holds(wanted: Any, found: Any, *, whole: bool = False) -> bool:
    """Whether what was found is what was wanted; an object may have more fields, unless `whole`."""
    if wanted == "*":
        return found is not None
    if isinstance(wanted, dict) and isinstance(found, dict):
        if whole and wanted.keys() != found.keys():
            return False
        return all(key in found and holds(inner, found[key], whole=whole) for key, inner in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        same = len(wanted) == len(found)
        return same and all(holds(a, b, whole=whole) for a, b in zip(wanted, found, strict=True))
    return bool(wanted == found)


def check(case: Json, recorder: Recorder, outcome: Any) -> None:
    """Raise `AssertionError` unless this is what the case asks for."""
    if "fails" in case:
        assert isinstance(outcome, PlauditError), outcome
        assert {name: plain(getattr(outcome, name)) for name in case["fails"]} == case["fails"]
        assert {outcome.key} - {None} == recorder.keys, "who settles it needs the key that was sent"
    else:
        if isinstance(outcome, PlauditError):
            raise outcome
        assert holds(case["returns"], outcome), outcome
    assert holds(case["sends"], recorder.sent, whole=True), recorder.sent
    assert len(recorder.keys) == any(request["key"] for request in case["sends"])


def outcome_of(kind: str, url: str, token: Any, case: Json, recorder: Recorder) -> Any:
    try:
        return perform(kind, url, token, [*case.get("before", []), case["call"]], recorder)
    except PlauditError as error:
        return error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CONTRACT["cases"], ids=lambda case: case["name"])
def test_a_case(server: ServerProcess, kind: str, case: Json) -> None:
    case = json.loads(json.dumps(case).replace("{id}", fresh("c")))

    def token(who: str | None) -> str | None:
        if who == "host":
            return server.token(None, service=True)
        return None if who is None else server.token(who, grants=["*"])

    with httpx.Client(base_url=server.url) as http:
        for who, method, path, body in case["given"]:
            headers = {"Authorization": f"Bearer {token(who)}"}
            http.request(method, quote(path, safe="/:"), json=body, headers=headers).raise_for_status()
    recorder = Recorder()
    check(case, recorder, outcome_of(kind, server.url, token(case["as"]), case, recorder))


class Scripted(ThreadingHTTPServer):
    """A server that answers as it is told, in order."""

    daemon_threads = True

    def __init__(self, answers: list[Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Scripted)
        self.answers = list(answers)

    def __enter__(self) -> "Scripted":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Scripted(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        assert isinstance(self.server, Scripted)
        answer = self.server.answers.pop(0)
        if answer == "drop":
            self.close_connection = True
            return
        body = answer["body"]
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(answer["status"])
        headers = {"content-type": "application/json", **answer.get("headers", {})}
        for name, value in {**headers, "content-length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - the names http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CONTRACT["faults"], ids=lambda case: case["name"])
def test_a_fault(kind: str, case: Json) -> None:
    recorder, asked = Recorder(), []

    def token(renew: bool) -> str:
        asked.append(renew)
        return f"token-{len(asked)}"

    from_s = time.monotonic()
    with Scripted(case["answers"]) as scripted:
        check(case, recorder, outcome_of(kind, scripted.url, token, case, recorder))
        assert scripted.answers == []
    assert time.monotonic() - from_s >= case.get("waits_s", 0)
    assert asked == [False, *[True] * case.get("renews", 0)]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_call_of_the_clients_is_listed(kind: type) -> None:
    calls = {name for name in vars(kind) if not name.startswith("_")}
    assert calls - {"count"} == {*CONTRACT["calls"], "stream", "close"}


def test_every_case_is_of_a_call_that_is_listed() -> None:
    used = {case["call"][0] for case in [*CONTRACT["cases"], *CONTRACT["faults"]]}
    assert used == set(CONTRACT["calls"])
    names = [case["name"] for case in [*CONTRACT["cases"], *CONTRACT["faults"]]]
    assert len(set(names)) == len(names)
