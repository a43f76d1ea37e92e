"""What only a real server on a real socket shows: bytes, chunks, floods, HEAD, one connection for many requests."""

import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from plaudit.http.bodies import MAX_BODY_BYTES
from tests.support.api import COUNTS, FEED, REACTIONS, SIX, Json, fresh
from tests.support.server import HOST, ServerProcess

WITHIN_S = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as started:
        yield started
        assert "Traceback" not in started.log
        assert '"level": "error"' not in started.log


@pytest.fixture
def token(server: ServerProcess, user: str) -> bytes:
    return f"Authorization: Bearer {server.token(user)}\r\n".encode()


class Answer(NamedTuple):
    """A parsed answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> Any:
        """The stable code of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        return json.loads(self.body)["code"]


class Connection:
    """One TCP connection."""

    def __init__(self, server: ServerProcess) -> None:
        self.socket = socket.create_connection((HOST, server.port), WITHIN_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Each part in a packet of its own."""
        for part in parts:
            self.socket.sendall(part)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer on this connection. Raises `ConnectionError` if there is none."""
        first = self.file.readline()
        if not first:
            raise ConnectionError("closed without an answer")
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode("ascii").partition(":")
            headers[name.lower()] = value.strip()
        status = int(first.split()[1])
        bare = method == "HEAD" or status == 304
        return Answer(status, headers, b"" if bare else self.file.read(int(headers["content-length"])))


def ask(server: ServerProcess, *parts: bytes, method: str = "GET") -> Answer:
    """The one answer to these bytes."""
    with Connection(server) as connection:
        connection.send(*parts)
        return connection.answer(method)


def get(path: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (method, path, b"".join(headers))


def post(token: bytes, body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    return (
        b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
        % (
            REACTIONS.encode(),
            token,
            b"".join(headers),
            len(body) if length is None else length,
            body,
        )
    )


def chunked(token: bytes, path: str = REACTIONS) -> bytes:
    return (
        b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        % (path.encode(), token)
    )


def chunks(body: bytes, size: int) -> list[bytes]:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return [b"%x\r\n%b\r\n" % (len(part), part) for part in parts] + [b"0\r\n\r\n"]


def tap(target: str, size: int = 0) -> bytes:
    return json.dumps({"target_id": target, "reaction_type": "like"}).encode().rjust(size)


def counts(server: ServerProcess, target: str) -> Json:
    answer = ask(server, get(f"{COUNTS}?target_ids={target}".encode()))
    return dict(json.loads(answer.body)["counts"][target])


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_body_in_chunks_is_a_body(server: ServerProcess, token: bytes, target: str, size: int) -> None:
    answer = ask(server, chunked(token), *chunks(tap(target), size))
    assert (answer.status, json.loads(answer.body)["outcome"]) == (200, "created")


def test_a_tap_may_arrive_byte_by_byte(server: ServerProcess, token: bytes, target: str) -> None:
    sent = post(token, tap(target))
    assert ask(server, *(sent[at : at + 1] for at in range(len(sent)))).status == 200


def test_a_body_may_wait_to_be_asked_for(server: ServerProcess, token: bytes, target: str) -> None:
    with Connection(server) as connection:
        body = tap(target)
        connection.send(post(token, b"", b"Expect: 100-continue\r\n", length=len(body)))
        asked = connection.file.readline() + connection.file.readline()
        assert asked == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(body)
        assert connection.answer().status == 200


def test_sixteen_kib_are_not_too_large(server: ServerProcess, token: bytes, target: str) -> None:
    assert ask(server, post(token, tap(target, MAX_BODY_BYTES))).status == 200
    assert ask(server, chunked(token), *chunks(tap(target, MAX_BODY_BYTES), 4096)).status == 200
    assert counts(server, target)["version"] == 2


def test_one_byte_more_is_too_large_and_the_connection_goes_on(
    server: ServerProcess, token: bytes, target: str
) -> None:
    with Connection(server) as connection:
        for _ in range(2):
            connection.send(post(token, tap(target, MAX_BODY_BYTES + 1)))
            refused = connection.answer()
            assert (refused.status, refused.code) == (413, "body_too_large")
        connection.send(post(token, tap(target)))
        assert json.loads(connection.answer().body)["counts"]["version"] == 1


@pytest.mark.parametrize("path", [REACTIONS, FEED])
def test_chunks_without_end_are_not_read_without_end(server: ServerProcess, token: bytes, path: str) -> None:
    with Connection(server) as connection:
        connection.send(chunked(token, path), *([b"1000\r\n" + b" " * 4096 + b"\r\n"] * 5))
        refused = connection.answer()
        assert (refused.status, refused.code) == (413, "body_too_large")


@pytest.mark.parametrize("path", [REACTIONS, FEED])
@pytest.mark.parametrize("broken", [b"zz\r\n", b"-1\r\n", b"5\r\n{}}}}XX", b"f" * 20 + b"\r\n"])
def test_broken_chunks_are_refused(server: ServerProcess, token: bytes, path: str, broken: bytes) -> None:
    refused = ask(server, chunked(token, path), broken)
    assert (refused.status, refused.code) == (400, "invalid_json")


def test_who_hangs_up_halfway_has_tapped_nothing(server: ServerProcess, token: bytes, target: str) -> None:
    body = tap(target)
    for part in (b"", body[:1], body[:-1]):
        for path in (REACTIONS, FEED):
            with Connection(server) as connection:
                connection.send(chunked(token, path), *(chunks(part, 100)[:-1] if part else []))
            with Connection(server) as connection:
                connection.send(post(token, part, length=len(body)))
    assert counts(server, target)["version"] == 0


def test_one_connection_takes_many_requests(server: ServerProcess, token: bytes, target: str) -> None:
    with Connection(server) as connection:
        for number in range(1, 6):
            connection.send(post(token, tap(target)))
            assert json.loads(connection.answer().body)["counts"]["version"] == number
            connection.send(post(token, b"{"))
            assert connection.answer().code == "invalid_json"
            connection.send(get(b"/nowhere"))
            assert connection.answer().code == "not_found"


def test_requests_sent_ahead_are_answered_in_order(server: ServerProcess, token: bytes, target: str) -> None:
    with Connection(server) as connection:
        connection.send(post(token, tap(target)) * 10 + get(f"{COUNTS}?target_ids={target}&_".encode()))
        versions = [json.loads(connection.answer().body)["counts"]["version"] for _ in range(10)]
        assert versions == list(range(1, 11))
        assert json.loads(connection.answer().body)["counts"][target]["total"] == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (COUNTS + "?target_ids=t", 200),
        (COUNTS, 422),
        (REACTIONS, 405),
        (REACTIONS + "/t", 200),
        (REACTIONS + "/t/reactors", 200),
        ("/healthz", 200),
        ("/nowhere", 404),
    ],
)
def test_head_has_no_body(server: ServerProcess, path: str, status: int) -> None:
    with Connection(server) as connection:
        connection.send(get(path.encode(), method=b"HEAD"), get(b"/healthz"))
        head = connection.answer("HEAD")
        assert (head.status, head.body) == (status, b"")
        assert int(head.headers["content-length"]) > 0
        assert connection.answer().body == b"ok\n"


def test_what_has_not_changed_has_no_body(server: ServerProcess, target: str) -> None:
    url = f"{COUNTS}?target_ids={target}".encode()
    first = ask(server, get(url))
    with Connection(server) as connection:
        connection.send(get(url, f"If-None-Match: {first.headers['etag']}\r\n".encode()), get(b"/healthz"))
        again = connection.answer()
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert connection.answer().body == b"ok\n"


# What the server itself refuses has no problem document: nothing of the request can be trusted by then.
TOO_LONG = (414, 431)  # which of them depends on where the limit is met
NO_REQUESTS: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "garbage": (b"garbage\r\n\r\n", (400,)),
    "binary": (b"\x00\x01\x02\x03\r\n\r\n", (400,)),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),
    "raw bytes in a path": (get(b"/api/v1/reactions/\xff\xfe"), (400,)),
    "raw bytes in a query": (get(COUNTS.encode() + b"?target_ids=\xff"), (400,)),
    "space in a query": (get(COUNTS.encode() + b"?target_ids=a b"), (400,)),
    "NUL in a path": (get(b"/api/v1/reactions/a\0b"), (400,)),
    "two lengths": (post(b"", b"{}", b"Content-Length: 3\r\n"), (400,)),
    "length is no number": (get(b"/healthz", b"Content-Length: x\r\n"), (400,)),
    "header without colon": (get(b"/healthz", b"nonsense\r\n"), (400,)),
    "NUL in a header": (get(b"/healthz", b"X: a\0b\r\n"), (400,)),
    "2000 headers": (get(b"/healthz", *[b"X%d: y\r\n" % number for number in range(2000)]), TOO_LONG),
    "a header of 2 MB": (get(b"/healthz", b"X: " + b"y" * 2_000_000 + b"\r\n"), TOO_LONG),
    "a path of 70 KB": (get(b"/" + b"x" * 70_000), TOO_LONG),
    "a query of 70 KB": (get(COUNTS.encode() + b"?target_ids=" + b"x" * 70_000), TOO_LONG),
}


@pytest.mark.parametrize("name", NO_REQUESTS)
def test_what_is_no_request_is_refused(server: ServerProcess, name: str) -> None:
    sent, statuses = NO_REQUESTS[name]
    with Connection(server) as connection:
        try:
            connection.send(sent)
        except OSError:
            pass  # refused before all of it was sent
        try:
            assert connection.answer().status in statuses
        except ConnectionError:
            assert len(sent) > 1_000_000
    assert server.ready()


BAD_REQUESTS: dict[str, tuple[bytes, int, str]] = {
    "escaped bytes": (get(b"/api/v1/reactions/%FF"), 422, "invalid_target_id"),
    "escaped NUL": (get(b"/api/v1/reactions/a%00b"), 422, "invalid_target_id"),
    "half an escape": (get(b"/api/v1/reactions/a%2"), 422, "invalid_target_id"),
    "no escape": (get(b"/api/v1/reactions/%zz"), 422, "invalid_target_id"),
    "two dots": (get(b"/api/v1/reactions/.."), 422, "invalid_target_id"),
    "escaped dots": (get(b"/api/v1/reactions/%2e%2E"), 422, "invalid_target_id"),
    "escaped bytes in a query": (get(COUNTS.encode() + b"?target_ids=%ff"), 422, "invalid_parameter"),
    "20 KB of commas": (get(COUNTS.encode() + b"?target_ids=" + b"," * 20_000), 422, "too_many_targets"),
    "path above the root": (get(b"/../../etc/passwd"), 404, "not_found"),
    "two slashes": (get(b"//evil.example/"), 404, "not_found"),
    "asterisk": (get(b"*", method=b"OPTIONS"), 404, "not_found"),
    "made-up method": (get(REACTIONS.encode(), method=b"BREW"), 405, "method_not_allowed"),
    "token of bytes": (
        get(b"/api/v1/me/reactions", b"Authorization: Bearer \xff\xfe\r\n"),
        401,
        "token_invalid",
    ),
    "token of 20 KB": (
        get(b"/api/v1/me/reactions", b"Authorization: Bearer " + b"x" * 20_000 + b"\r\n"),
        401,
        "token_invalid",
    ),
    "WebSocket": (
        get(b"/ws", b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        404,
        "not_found",
    ),
    "no host": (b"GET /nowhere HTTP/1.1\r\n\r\n", 404, "not_found"),
    "strange host": (b"GET /nowhere/ HTTP/1.1\r\nHost: [\r\n\r\n", 404, "not_found"),
    "HTTP/1.0": (b"GET /nowhere HTTP/1.0\r\n\r\n", 404, "not_found"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_strange_request_gets_a_problem(server: ServerProcess, name: str) -> None:
    sent, status, code = BAD_REQUESTS[name]
    answer = ask(server, sent)
    assert (answer.status, answer.code) == (status, code)


def test_bytes_in_headers_of_a_tap_are_refused(server: ServerProcess, token: bytes, target: str) -> None:
    body = tap(target)
    refused = ask(server, post(token, body, b"Idempotency-Key: \xff\xfe\r\n"))
    assert (refused.status, refused.code) == (422, "invalid_idempotency_key")
    host = f"Authorization: Bearer {server.token(None, service=True)}\r\n".encode()
    refused = ask(server, post(host, body, b"Plaudit-User: \xc3\xa4\r\n"))
    assert (refused.status, refused.code) == (422, "invalid_user_id")
    assert counts(server, target)["version"] == 0


def test_a_compressed_body_is_not_guessed_at(server: ServerProcess, token: bytes) -> None:
    refused = ask(server, post(token, b"\x1f\x8b\x08\x00", b"Content-Encoding: gzip\r\n"))
    assert refused.code == "invalid_json"


def test_a_hundred_connections_at_once(server: ServerProcess, target: str) -> None:
    connections = [Connection(server) for _ in range(100)]
    for connection in connections:
        header = f"Authorization: Bearer {server.token(fresh('u'))}\r\n".encode()
        connection.send(post(header, tap(target)))
    for connection in connections:
        with connection:
            assert connection.answer().status == 200
    shown = counts(server, target)
    assert shown["total"] == shown["reactions"]["like"] == 100
    assert set(shown["reactions"]) == set(SIX)
