"""Clients that are slow, broken, greedy or silent: others do not notice, and memory comes back."""

import asyncio
import resource
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plaudit.http.bodies import BODY_WITHIN_S
from tests.fuzz.hostile import (
    BODY,
    GET,
    connect,
    drip,
    exchange,
    others_unharmed,
    repeating,
    resident_kb,
    statuses,
    tap_head,
    until_closed,
    whole_tap,
)
from tests.support.audit import audit_file
from tests.support.server import ServerProcess

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to see the server's memory"),
    pytest.mark.timeout(180),
]

IDLE_S = 2.0
SLACK_S = 15.0  # for a machine that stalls; what is not cut off lasts longer still
MEGABYTES_10 = 10 * 1024 * 1024
CHUNKED = b"Transfer-Encoding: chunked"
IDLE_CONNECTIONS = 10_000
IDLE_KB_EACH = 24


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    env = {"PLAUDIT_IDLE_CONNECTION_S": str(IDLE_S), "PLAUDIT_RATE_LIMIT_PER_S": "0"}
    data = tmp_path_factory.mktemp("hostile") / "data"
    with ServerProcess(data, env=env) as running:
        yield running
    assert "Traceback" not in running.log
    assert '"error"' not in running.log
    audit_file(data / "plaudit.db")


async def test_headers_that_do_not_come_or_come_byte_by_byte(server: ServerProcess) -> None:
    # The first letter of "PUT" is also that of HTTP/2's preface.
    heads = [b"", b"P", b"GET /healthz HTTP/1.1\r\nHost: plaudit\r\nX: "] * 80
    lasted: list[float] = []

    async def once() -> None:
        head = heads[len(lasted) % len(heads)]
        answer, seconds = await drip(server, head, b"x" * (1000 if len(head) > 1 else 0), 0.1)
        assert answer == b""
        lasted.append(seconds)

    async with others_unharmed(server, len(heads)) as measured, repeating(len(heads), once):
        await measured()
        async with asyncio.timeout(IDLE_S + SLACK_S):
            while len(lasted) < len(heads):
                await asyncio.sleep(0.05)
    assert min(lasted) > IDLE_S * 0.9
    assert max(lasted) < IDLE_S + SLACK_S


async def test_bodies_that_do_not_come_or_come_byte_by_byte_are_cut_off(server: ServerProcess) -> None:
    plain = tap_head(server, b"Content-Length: 900"), b'{"target_id":"' * 10
    chunked = tap_head(server, CHUNKED), b"1\r\na\r\n" * 20
    silent = [
        (tap_head(server, b"Content-Length: 50"), b""),
        (tap_head(server, b"Content-Length: 50") + BODY[:20], b""),
        (tap_head(server, CHUNKED) + b"1\r\n{\r\n", b""),
    ]
    async with others_unharmed(server, 203) as measured:
        slow = asyncio.gather(
            *[drip(server, head, rest, 0.25) for head, rest in [*[plain, chunked] * 100, *silent]]
        )
        await measured()
        answers = await slow
    assert {tuple(statuses(answer)) for answer, _ in answers} == {(400,)}
    assert all(b'"invalid_json"' in answer for answer, _ in answers)
    assert max(seconds for _, seconds in answers) < BODY_WITHIN_S + SLACK_S


async def test_a_slow_body_that_arrives_in_time_is_a_tap(server: ServerProcess) -> None:
    head = tap_head(server, b"Content-Length: %d" % len(BODY), b"Connection: close")
    taps = await asyncio.gather(*[drip(server, head, BODY, 0.02) for _ in range(20)])
    assert {tuple(statuses(answer)) for answer, _ in taps} == {(200,)}


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_of_10_mib_are_refused_long_before_their_end(
    server: ServerProcess, chunked: bool
) -> None:
    megabyte = b"x" * (MEGABYTES_10 // 10)
    if chunked:
        parts = [tap_head(server, CHUNKED), *[b"%x\r\n%b\r\n" % (len(megabyte), megabyte)] * 10, b"0\r\n\r\n"]
    else:
        parts = [tap_head(server, b"Content-Length: %d" % MEGABYTES_10), *[megabyte] * 10]
    answers: list[bytes] = []

    async def once() -> None:
        answers.append(await asyncio.to_thread(exchange, server, *parts))
        await asyncio.sleep(0.05)

    async with others_unharmed(server, 8) as measured, repeating(8, once):
        await measured()
    # Who is still sending when the server closes may never see its answer.
    assert {tuple(statuses(answer)) for answer in answers} <= {(413,), ()}
    assert any(b'"body_too_large"' in answer for answer in answers)


@pytest.mark.parametrize(
    ("flood", "status"),
    [
        pytest.param(b"".join(b"X-%d: 1\r\n" % n for n in range(1000)), 431, id="1000 headers"),
        pytest.param(b"X-Long: " + b"x" * 65536 + b"\r\n", 431, id="64 KiB header"),
        pytest.param(b"X-Long: " + b"x" * 30000 + b"\r\n", 200, id="30 KB header"),
        pytest.param(b"Authorization: Bearer " + b"x" * 20000 + b"\r\n", 200, id="unread token"),
    ],
)
async def test_floods_of_headers(server: ServerProcess, flood: bytes, status: int) -> None:
    request = GET[:-2] + b"Connection: close\r\n" + flood + b"\r\n"

    async def once() -> None:
        answer = await asyncio.to_thread(exchange, server, request)
        assert statuses(answer) in ([status], [])
        await asyncio.sleep(0.02)

    assert statuses(exchange(server, request)) == [status]
    async with others_unharmed(server, 20) as measured, repeating(20, once):
        await measured()


GARBAGE = {
    "zeros": (bytes(5000), [400]),
    "a handshake of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), [400]),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", []),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", [400]),
    "behind good requests": (GET + GET + b"\0\xff nonsense\r\n\r\n" + GET, [200, 200, 400]),
    "a folded header": (GET[:-2] + b"X: a\r\n b\r\n\r\n", [400]),
    "bytes in the address": (b"GET /api/v1/reactions/\xff?\xfe HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    "an address of 64 KiB": (b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: a\r\n\r\n", [431]),
}
MISFRAMED = {
    "two lengths": (b"Content-Length: 5\r\nContent-Length: 46", BODY, [400]),
    "a negative length": (b"Content-Length: -1", BODY, [400]),
    "a length beyond 64 bits": (b"Content-Length: " + b"9" * 30, BODY, [400]),
    "an unknown coding": (b"Transfer-Encoding: xchunked", BODY, [400]),
    "a chunk of zz bytes": (CHUNKED, b"zz\r\n" + BODY, [400]),
    "a chunk of 2^64 bytes": (CHUNKED, b"ffffffffffffffffff\r\n" + BODY, [400]),
    "an endless chunk extension": (CHUNKED, b"2e;" + b"a" * 40000, [400]),
    "an endless trailer": (CHUNKED, b"0\r\n" + b"X: y\r\n" * 9000, [400]),
    # What a proxy in front takes for a body, and we for the next request: the connection ends with the first answer.
    "both framings": (b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n" + GET, [400]),
}


@pytest.mark.parametrize(("sent", "answered"), GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_refused_and_ends_the_connection(
    server: ServerProcess, sent: bytes, answered: list[int]
) -> None:
    assert statuses(exchange(server, sent)) == answered


@pytest.mark.parametrize(("framing", "body", "answered"), MISFRAMED.values(), ids=MISFRAMED.keys())
def test_a_body_with_a_broken_frame_is_refused_and_ends_the_connection(
    server: ServerProcess, framing: bytes, body: bytes, answered: list[int]
) -> None:
    assert statuses(exchange(server, tap_head(server, framing), body)) == answered


async def test_clients_that_hang_up_at_any_moment(server: ServerProcess) -> None:
    tap = whole_tap(server)

    async def once() -> None:
        for cut in range(0, len(tap) + 1, len(tap) // 20):
            with connect(server) as client:
                client.sendall(tap[:cut])
                if cut % 2:  # a reset instead of a goodbye
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await asyncio.sleep(0.005)

    async with others_unharmed(server, 10) as measured, repeating(10, once):
        await measured()


def test_a_client_that_stops_sending_has_hung_up(server: ServerProcess) -> None:
    with connect(server) as client:
        client.sendall(whole_tap(server))
        client.shutdown(socket.SHUT_WR)
        assert statuses(until_closed(client)) in ([], [200])


async def test_clients_that_ask_and_never_read(server: ServerProcess) -> None:
    before_kb = resident_kb(server)
    greedy = [connect(server) for _ in range(40)]
    async with others_unharmed(server, len(greedy)) as measured:
        for client in greedy:
            client.setblocking(False)
            client.send(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
        await measured()
        assert resident_kb(server) - before_kb < 1024 * len(greedy)
        for client in greedy:
            client.close()


async def test_who_opens_every_connection_locks_others_out_for_as_long_as_an_idle_one_lasts(
    tmp_path: Path,
) -> None:
    env = {"PLAUDIT_IDLE_CONNECTION_S": "1", "PLAUDIT_MAX_CONNECTIONS": "16"}
    with ServerProcess(tmp_path / "data", env=env) as small:
        silent = [connect(small) for _ in range(16)]
        answer, seconds = await drip(small, GET, b"", 0)
        assert statuses(answer) == [200]
        assert seconds < 1 + SLACK_S
        assert [until_closed(client) for client in silent] == [b""] * 16
        for client in silent:
            client.close()


def test_connections_in_the_middle_of_a_request_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        half = [_idle(server, n % 3) for n in range(30)]
        unread = connect(server)
        unread.setblocking(False)
        unread.send(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
        slow = connect(server)
        slow.sendall(tap_head(server, b"Content-Length: 40"))
        assert server.stop() == 0
        assert "Traceback" not in server.log
        for client in [*half, unread, slow]:
            client.close()


@pytest.fixture
def files_for(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many connections this process and the server may each have, up to the number wanted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE_CONNECTIONS + 1000
    room = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, room), hard))
    yield min(IDLE_CONNECTIONS, room - 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_10_000_idle_connections(tmp_path: Path, files_for: int) -> None:
    if files_for < IDLE_CONNECTIONS:
        print(f"only {files_for} connections: the limit of open files allows no more")  # noqa: T201 - seen with -s
    with ServerProcess(tmp_path / "data", env={"PLAUDIT_RATE_LIMIT_PER_S": "0"}) as server:
        async with others_unharmed(server, files_for) as measured:
            before_kb = resident_kb(server)
            idle = await asyncio.to_thread(lambda: [_idle(server, n % 3) for n in range(files_for)])
            await measured()
            assert resident_kb(server) - before_kb < IDLE_KB_EACH * files_for
            for client in idle:
                client.close()


def _idle(server: ServerProcess, kind: int) -> socket.socket:
    """A connection that never said anything, one between two requests, or one in the middle of its headers."""
    client = connect(server)
    if kind == 1:
        client.sendall(GET)
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    elif kind == 2:
        client.sendall(GET[:-4])
    return client
