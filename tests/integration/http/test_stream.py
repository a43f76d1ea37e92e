"""The stream on real sockets: what it says, whom it lets in, how it ends, and that nothing is left of it."""

import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from plaudit.http.auth import issue
from tests.support.api import COUNTS, REACTIONS, assert_problem, counts_of, fresh
from tests.support.server import HOST, ServerProcess
from tests.support.streams import STREAM, StreamClient

WITHIN_S = 30.0
PER_USER, PER_ADDRESS = 3, 12
IDLE_S = 1.0
Tap = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    env = {
        "PLAUDIT_IDLE_CONNECTION_S": str(IDLE_S),
        "PLAUDIT_MAX_STREAMS_PER_USER": str(PER_USER),
        "PLAUDIT_MAX_STREAMS_PER_ADDRESS": str(PER_ADDRESS),
        "PLAUDIT_AUTH_SECRET": "a secret that is only good enough for tests",
    }
    with ServerProcess(tmp_path_factory.mktemp("streams") / "data", env=env) as started:
        yield started
        assert "Traceback" not in started.log
        assert '"level": "error"' not in started.log


@pytest.fixture
def tap(server: ServerProcess, user: str) -> Tap:
    def one(target: str, reaction: str | None, who: str = user) -> dict[str, Any]:
        body = {"target_id": target, "reaction_type": reaction}
        headers = {"Authorization": f"Bearer {server.token(who, grants=['*'])}"}
        answer = httpx.put(server.url + REACTIONS, json=body, headers=headers)
        return dict(answer.raise_for_status().json()["counts"])

    return one


def listeners(server: ServerProcess) -> int:
    text = httpx.get(f"{server.url}/metrics").text
    return int(float(text.partition("\nplaudit_stream_listeners ")[2].split()[0]))


def until_listeners(server: ServerProcess, wanted: int, within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while (found := listeners(server)) != wanted:
        assert time.monotonic() < deadline, f"{found} listeners and not {wanted}"
        time.sleep(0.02)


def register(server: ServerProcess, target: str, **description: Any) -> None:
    headers = {"Authorization": f"Bearer {server.token(None, service=True)}"}
    httpx.put(f"{server.url}/api/v1/targets/{target}", json=description, headers=headers).raise_for_status()


def test_a_snapshot_and_then_what_changes(server: ServerProcess, tap: Tap, target: str) -> None:
    other = fresh("t")
    tap(target, "love")
    with StreamClient(server, other, target) as client:
        status, headers = client.head()
        assert status == 200
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert list(client.next().items()) == [(other, counts_of(0)), (target, counts_of(1, love=1))]
        assert client.retry_ms == 3000
        after = tap(target, "wow")
        assert client.next() == {target: after}
        assert all(event["degraded"] is False for event in client.events)
        tap(target, None)
        tap(other, "sad")
        client.until(target, 3)
        client.until(other, 1)
    shown = httpx.get(f"{server.url}{COUNTS}?target_ids={target}").json()["counts"][target]
    last = next(event["counts"][target] for event in reversed(client.events) if target in event["counts"])
    assert last == shown


def test_taps_of_one_moment_are_one_event(server: ServerProcess, tap: Tap, target: str) -> None:
    started = time.monotonic()
    with StreamClient(server, target).open() as client:
        for n in range(40):
            tap(target, "like", f"u{n}")
        client.until(target, 40)
    versions = [event["counts"][target]["version"] for event in client.events]
    assert versions == sorted(set(versions))
    assert len(versions) <= 4 * (time.monotonic() - started) + 2


@pytest.mark.parametrize("how", ["close", "reset"])
def test_who_hangs_up_is_gone(server: ServerProcess, target: str, how: str) -> None:
    until_listeners(server, 0)
    clients = [StreamClient(server, target).open() for _ in range(5)]
    until_listeners(server, 5)
    for client in clients:
        if how == "reset":
            client.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: no FIN but RST
        client.socket.close()
    until_listeners(server, 0)


def test_it_outlives_what_closes_an_idle_connection(server: ServerProcess, tap: Tap, target: str) -> None:
    with StreamClient(server, target).open() as client:
        client.socket.settimeout(IDLE_S * 2.5)
        with pytest.raises(TimeoutError):
            client.next()
        client.socket.settimeout(WITHIN_S)
        changed = tap(target, "like")
        assert client.next() == {target: changed}


def test_a_granted_target_takes_a_token_that_grants_it(server: ServerProcess, tap: Tap, target: str) -> None:
    open_ = fresh("t")
    register(server, target, target_type="message")
    refused: list[tuple[str | None, str]] = [
        (None, "token_missing"),
        ("a.b.c", "token_invalid"),
        (server.token("ann", grants=["other:*"]), "target_not_granted"),
    ]
    for token, code in refused:
        with StreamClient(server, open_, target, token=token) as client:
            assert client.problem()[0] == code
    with StreamClient(server, open_, target, token=server.token("ann", grants=[target])).open() as client:
        assert set(client.events[0]["counts"]) == {open_, target}
        changed = tap(target, "haha")
        assert client.next() == {target: changed}


def test_a_bad_token_hears_nothing(server: ServerProcess, target: str) -> None:
    answer = httpx.get(
        f"{server.url}/api/v1/reactions/stream?target_ids={target}", headers={"Authorization": "Bearer a.b.c"}
    )
    assert answer.status_code == 401
    assert_problem(answer, "token_invalid")


def test_a_stream_ends_with_its_token(server: ServerProcess, target: str) -> None:
    register(server, target, target_type="message")
    secret = "a secret that is only good enough for tests"
    for ttl_s in (3, 10, 30):
        # Ten seconds of leeway for clocks that differ; of those that are left, cutting off the fraction takes one.
        now_s = int(time.time()) - 10
        token = issue(secret, user="ann", service=False, grants=["*"], ttl_s=ttl_s, now_s=now_s)
        with StreamClient(server, target, token=token) as client:
            status, _ = client.head()
            if status == 401 and time.time() > now_s + 10 + ttl_s - 1:
                continue  # the machine stalled for as long as it was valid
            assert status == 200
            client.next()
            client.until_over()
            return
    pytest.fail("no token lasted until the stream began")


def test_a_stream_ends_when_its_target_is_no_longer_public(
    server: ServerProcess, tap: Tap, target: str
) -> None:
    with StreamClient(server, target).open() as client:
        register(server, target, target_type="message")
        client.until_over()
        assert len(client.events) == 1
    with StreamClient(server, target) as client:
        assert client.problem()[0] == "token_missing"


def test_a_user_and_an_address_have_so_many(server: ServerProcess, target: str) -> None:
    register(server, target, target_type="message")
    until_listeners(server, 0)
    token = server.token("ann", grants=["*"])
    mine = [StreamClient(server, target, token=token).open() for _ in range(PER_USER)]
    with StreamClient(server, target, token=token) as client:
        code, headers = client.problem()
        assert code == "overloaded"
        assert 5 <= int(headers["retry-after"]) < 15
    bob = StreamClient(server, target, token=server.token("bob", grants=["*"])).open()
    host = [StreamClient(server, target, token=server.token(None, service=True)).open() for _ in range(5)]
    open_ = [StreamClient(server, fresh("t")).open() for _ in range(PER_ADDRESS)]
    with StreamClient(server, fresh("t")) as client:
        assert client.problem()[0] == "overloaded"
    mine.pop().socket.close()
    until_listeners(server, PER_USER + 5 + PER_ADDRESS)
    mine.append(StreamClient(server, target, token=token).open())
    for client in [*mine, bob, *host, *open_]:
        client.socket.close()
    until_listeners(server, 0)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("target_ids=", "missing_parameter"),
        ("more=1", "unknown_parameter"),
        ("target_ids=a&target_ids=b", "invalid_parameter"),
        ("target_ids=a%20b", "invalid_target_id"),
        ("target_ids=a,a", "repeated_target"),
        ("target_ids=" + ",".join(f"t{n}" for n in range(101)), "too_many_targets"),
    ],
)
def test_what_cannot_be_listened_to_is_refused(server: ServerProcess, query: str, code: str) -> None:
    with StreamClient(server, query=query) as client:
        assert client.problem()[0] == code


def test_other_methods(server: ServerProcess, target: str) -> None:
    connection = HTTPConnection(HOST, server.port, timeout=WITHIN_S)
    connection.request("HEAD", f"{STREAM}?target_ids={target}")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    connection.close()
    refused = httpx.post(f"{server.url}{STREAM}")
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD"
    until_listeners(server, 0)


def test_the_process_has_so_many(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", env={"PLAUDIT_MAX_STREAMS": "2"}) as server:
        first, second = StreamClient(server, "a").open(), StreamClient(server, "b").open()
        with StreamClient(server, "c") as third:
            assert third.problem()[0] == "overloaded"
        first.socket.close()
        until_listeners(server, 1)
        with second, StreamClient(server, "c").open():
            pass


def test_a_stop_ends_streams_at_once(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        clients = [StreamClient(server, "a", "b").open() for _ in range(50)]
        assert server.stop(within_s=30) == 0
        assert "leaving connections" not in server.log, "it ended them, and did not stop waiting for them"
        for client in clients:
            client.until_over()
            client.socket.close()
    assert "Traceback" not in server.log
