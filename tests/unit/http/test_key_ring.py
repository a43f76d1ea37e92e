"""How a set of keys is kept fresh, from a file or a real server."""

import asyncio
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from plaudit.domain.errors import Unavailable
from plaudit.http import key_url, keys
from plaudit.http.key_url import UrlSource
from plaudit.http.keys import (
    SET_ALGORITHMS,
    FileSource,
    KeyRing,
    KeySource,
)
from tests.unit.http.signing import FakeClock, KeyServer, jwk, key_server, key_set, private

pytestmark = pytest.mark.anyio

RSA, EC, ED = private("RS256"), private("ES256"), private("EdDSA")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with key_server() as server:
        server.serve(jwk(RSA, "one"))
        yield server


class Removals:
    """Counts how often the ring said that a key left."""

    def __init__(self) -> None:
        self.count = 0
        self.happened = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self.happened.set()


def ring_of(source: KeySource, clock: FakeClock, removed: Removals | None = None) -> KeyRing:
    return KeyRing(source, clock, removed=removed or Removals())


def names(ring: KeyRing) -> list[str]:
    found = [key for algorithm in sorted(SET_ALGORITHMS) for key in ring.find(algorithm, None)]
    return sorted(str(key.kid) for key in found)


async def test_find_goes_by_algorithm_and_name(clock: FakeClock, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(key_set(jwk(RSA, "a"), jwk(EC, "a"), jwk(ED, None), jwk(RSA, "b")))
    async with ring_of(FileSource(tmp_path / "keys"), clock) as ring:
        assert [key.kid for key in ring.find("RS256", "a")] == ["a"]
        assert [key.kid for key in ring.find("RS256", None)] == ["a", "b"]
        assert [key.algorithm for key in ring.find("ES256", "a")] == ["ES256"]
        assert ring.find("ES256", "b") == ()
        assert ring.find("EdDSA", "a") == ()
        assert len(ring.find("EdDSA", None)) == 1


async def test_a_token_without_key_id_cannot_make_us_try_every_key(clock: FakeClock, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(key_set(*[jwk(ED, str(number)) for number in range(9)]))
    async with ring_of(FileSource(tmp_path / "keys"), clock) as ring:
        assert ring.find("EdDSA", None) == ()
        assert len(ring.find("EdDSA", "8")) == 1


async def test_a_changed_file_is_read_again_after_5_s(clock: FakeClock, tmp_path: Path) -> None:
    path, removed = tmp_path / "keys", Removals()
    path.write_bytes(key_set(jwk(RSA, "one")))
    async with ring_of(FileSource(path), clock, removed) as ring:
        path.write_bytes(key_set(jwk(RSA, "one"), jwk(EC, "two")))
        clock.monotonic = 4.9
        await ring.refresh_if_due()
        assert names(ring) == ["one"]
        clock.monotonic = 5
        await ring.refresh_if_due()
        assert names(ring) == ["one", "two"]
        assert removed.count == 0
        path.write_bytes(key_set(jwk(EC, "two")))
        clock.monotonic = 10
        await ring.refresh_if_due()
        assert names(ring) == ["two"]
        assert removed.count == 1


async def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"one")
    source = FileSource(path)
    assert await source.read() == b"one"
    assert await source.read() is None
    replacement = tmp_path / "new"
    replacement.write_bytes(b"two")
    times = path.stat()
    os.utime(replacement, ns=(times.st_atime_ns, times.st_mtime_ns))
    replacement.rename(path)
    assert await source.read() == b"two", "same time and size, but another file"


@pytest.mark.parametrize("broken", [b"", b'{"keys": [', None], ids=["emptied", "half written", "gone"])
async def test_a_broken_file_leaves_the_old_keys(
    clock: FakeClock, tmp_path: Path, broken: bytes | None
) -> None:
    path, removed = tmp_path / "keys", Removals()
    path.write_bytes(key_set(jwk(RSA, "one")))
    async with ring_of(FileSource(path), clock, removed) as ring:
        if broken is None:
            path.unlink()
        else:
            path.write_bytes(broken)
        clock.monotonic = 5
        await ring.refresh_if_due()
        assert (names(ring), removed.count) == (["one"], 0)
        path.write_bytes(key_set(jwk(EC, "two")))
        clock.monotonic = 10
        await ring.refresh_if_due()
        assert (names(ring), removed.count) == (["two"], 1)


@pytest.mark.parametrize(
    "content",
    [None, b"", b'{"keys": []}', key_set(jwk(private("RSA-1024"), "weak"))],
    ids=["missing", "empty", "no key", "weak key"],
)
async def test_a_file_without_keys_stops_the_start(
    clock: FakeClock, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    with pytest.raises(Unavailable, match=r"jwks|key set"):
        async with ring_of(FileSource(tmp_path / "keys"), clock):
            pass


async def test_a_url_is_read_every_ten_minutes(clock: FakeClock, server: KeyServer) -> None:
    async with ring_of(UrlSource(server.url), clock) as ring:
        clock.monotonic = 599
        await ring.refresh_if_due()
        assert len(server.requests) == 1
        clock.monotonic = 600
        server.serve(jwk(EC, "two"))
        await ring.refresh_if_due()
        assert (names(ring), len(server.requests)) == (["two"], 2)


async def test_the_ring_keeps_itself_fresh(
    clock: FakeClock, server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "TICK_S", 0.001)
    removed = Removals()
    async with ring_of(UrlSource(server.url), clock, removed) as ring:
        server.serve(jwk(EC, "two"))
        clock.monotonic = 600
        await removed.happened.wait()
        assert names(ring) == ["two"]


async def test_a_set_that_withdraws_every_key_is_obeyed(clock: FakeClock, server: KeyServer) -> None:
    removed = Removals()
    async with ring_of(UrlSource(server.url), clock, removed) as ring:
        server.serve()
        await ring.refresh()
        assert (names(ring), removed.count, ring.loaded) == ([], 1, True)


async def test_a_key_replaced_under_the_same_name_counts_as_removed(
    clock: FakeClock, server: KeyServer
) -> None:
    removed = Removals()
    async with ring_of(UrlSource(server.url), clock, removed) as ring:
        server.serve(jwk(private("RS256", "second"), "one"))
        await ring.refresh()
        assert (names(ring), removed.count) == (["one"], 1)


NOT_A_SET = "not a JWK Set"
FAILURES: dict[str, tuple[str, int, bytes, dict[str, str]]] = {
    "server error": ("answers 500", 500, b"", {}),
    "not found": ("answers 404", 404, b"", {}),
    "no content": ("answers 204", 204, b"", {}),
    "no key set": (NOT_A_SET, 200, b"<html>login</html>", {}),
    "compressed all the same": (
        NOT_A_SET, 200, gzip.compress(key_set(jwk(EC, "two"))), {"content-encoding": "gzip"}
    ),
    "too large": ("answers with more than 1048576", 200, b" " * (1 << 20) + key_set(jwk(EC, "two")), {}),
    "redirect to https": ("another scheme", 302, b"", {"location": "https://127.0.0.1:1/keys"}),
    "redirect to a file": ("another scheme", 302, b"", {"location": "file:///etc/passwd"}),
    "redirect in a circle": ("redirects more than 3 times", 302, b"", {"location": "/keys"}),
    "redirect to nonsense": ("Error", 302, b"", {"location": "http://[/"}),
    "redirect to a bad name": ("Error", 302, b"", {"location": "http://xn--\xfc..example/"}),
    "redirect to a closed port": ("ConnectError", 302, b"", {"location": "http://127.0.0.1:1/"}),
    "body cut off": ("RemoteProtocolError", 200, b"{}", {"content-length": "9", "connection": "close"}),
}  # fmt: skip


@pytest.mark.parametrize(("reason", "status", "body", "headers"), FAILURES.values(), ids=FAILURES)
async def test_a_failing_server_leaves_the_old_keys(
    clock: FakeClock,
    server: KeyServer,
    caplog: pytest.LogCaptureFixture,
    reason: str,
    status: int,
    body: bytes,
    headers: dict[str, str],
) -> None:
    removed = Removals()
    async with ring_of(UrlSource(server.url), clock, removed) as ring:
        server.answer(status, body, **headers)
        await ring.refresh()
        assert (names(ring), removed.count) == (["one"], 0)
        (message,) = [record.getMessage() for record in caplog.records if record.name == "plaudit.keys"]
        assert reason in message
        server.serve(jwk(EC, "two"))
        clock.monotonic = 10
        await ring.refresh_if_due()
        assert names(ring) == ["two"], "tried again sooner than after a success"


async def test_a_hanging_server_is_given_up(
    clock: FakeClock, server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_url, "FETCH_TIMEOUT_S", 0.05)
    server.open.clear()
    with pytest.raises(Unavailable, match="no answer within"):
        await UrlSource(server.url).read()


async def test_a_redirect_within_the_scheme_is_followed(clock: FakeClock, server: KeyServer) -> None:
    server.answer(301, location="/moved")
    server.answer(200, key_set(jwk(EC, "two")), "/moved")
    async with ring_of(UrlSource(server.url), clock) as ring:
        assert names(ring) == ["two"]


async def test_a_url_that_fails_at_start_does_not_stop_the_start(clock: FakeClock, server: KeyServer) -> None:
    server.answer(503)
    async with ring_of(UrlSource(server.url), clock) as ring:
        assert not ring.loaded
        server.serve(jwk(RSA, "one"))
        clock.monotonic = 10
        await ring.refresh_if_due()
        assert ring.loaded


async def test_the_ring_says_how_old_its_keys_are(clock: FakeClock, server: KeyServer) -> None:
    server.answer(503)
    clock.monotonic = 5
    async with ring_of(UrlSource(server.url), clock) as ring:
        clock.monotonic = 20
        assert ring.age_s == 15, "since it is tried"
        server.serve(jwk(RSA, "one"))
        await ring.refresh()
        clock.monotonic = 50
        assert ring.age_s == 30
        server.answer(503)
        await ring.refresh()
        assert ring.age_s == 30


async def test_readings_at_once_are_one(clock: FakeClock, server: KeyServer) -> None:
    async with ring_of(UrlSource(server.url), clock) as ring:
        await asyncio.gather(*(ring.refresh() for _ in range(20)), *(ring.renew() for _ in range(20)))
        assert len(server.requests) == 2


async def test_who_stops_waiting_does_not_stop_the_reading(clock: FakeClock, server: KeyServer) -> None:
    async with ring_of(UrlSource(server.url), clock) as ring:
        server.serve(jwk(EC, "two"))
        server.open.clear()
        impatient, patient = asyncio.create_task(ring.renew()), asyncio.create_task(ring.renew())
        await asyncio.sleep(0)  # both have begun to wait
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        server.open.set()
        await patient
        assert names(ring) == ["two"]


async def test_the_end_does_not_wait_for_a_hanging_server(clock: FakeClock, server: KeyServer) -> None:
    before = asyncio.all_tasks()
    async with ring_of(UrlSource(server.url), clock) as ring:
        server.open.clear()
        waiting = asyncio.create_task(ring.renew())
        await asyncio.sleep(0)  # it has begun to wait
    await waiting
    assert asyncio.all_tasks() == before
