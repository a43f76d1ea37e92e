"""What the contract file does not hold: streams, batches, own connections, giving up."""

import asyncio
import re
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from h2.exceptions import ProtocolError

from plaudit.client import AsyncClient, Client, Counts, PlauditError, Retries
from tests.integration.client.test_contract import Scripted
from tests.support.api import fresh
from tests.support.server import ServerProcess

ONE = Retries(attempts=1)
BRIEFLY = Retries(first_s=0.001)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("client") / "data") as running:
        yield running


def test_a_stream_tells_what_changes(server: ServerProcess) -> None:
    target = fresh("t")
    with Client(server.url, server.token("ann")) as client:
        stream = client.stream([target])
        assert next(stream)[target].total == 0
        counts = client.set(target, "love").counts
        assert next(stream)[target] == counts
        stream.close()  # type: ignore[attr-defined] # a generator has it


async def test_an_asyncio_stream_comes_back_after_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    with ServerProcess(tmp_path_factory.mktemp("restarted") / "data") as server:
        async with AsyncClient(server.url, server.token("ann"), retries=BRIEFLY) as client:
            stream = client.stream(["t"])
            assert (await anext(stream))["t"].version == 0
            await asyncio.to_thread(server.restart)
            counts = (await client.set("t", "wow")).counts
            async with asyncio.timeout(60):
                while (await anext(stream))["t"] != counts:
                    pass
            await stream.aclose()  # type: ignore[attr-defined] # a generator has it


def test_a_stream_renews_its_token_also_after_other_failures(server: ServerProcess) -> None:
    asked: list[bool] = []

    def token(renew: bool) -> str:
        asked.append(renew)
        return server.token("ann", grants=["*"]) if renew else "a.b.c"

    target = fresh("m")
    with Client(server.url, server.token(None, service=True)) as host:
        host.register_target(target, type="message")
    failing = [httpx.ConnectError("no network yet")]

    def fail_once(_: httpx.Request) -> None:
        if failing:
            raise failing.pop()

    with httpx.Client(event_hooks={"request": [fail_once]}) as http:
        stream = Client(server.url, token, retries=BRIEFLY, http=http).stream([target])
        assert next(stream)[target].total == 0
        stream.close()  # type: ignore[attr-defined] # a generator has it
    assert asked.count(True) == 1


async def test_calls_at_once_ask_once_for_a_token(server: ServerProcess) -> None:
    asked = list[bool]()

    async def token(renew: bool) -> str:
        asked.append(renew)
        await asyncio.sleep(0.05)
        return server.token("ann") if renew else "a.b.c"

    async with AsyncClient(server.url, token, retries=BRIEFLY) as client:
        await asyncio.gather(*(client.mine([fresh("t")]) for _ in range(20)))
        assert asked == [False, True]
        await client.mine([fresh("t")])
    assert asked == [False, True]


async def test_who_stops_waiting_for_a_token_leaves_it_to_the_others(server: ServerProcess) -> None:
    asked, free = list[bool](), asyncio.Event()

    async def token(renew: bool) -> str:
        asked.append(renew)
        await free.wait()
        return server.token("ann")

    async with AsyncClient(server.url, token, retries=BRIEFLY) as client:
        calls = [asyncio.create_task(client.mine([fresh("t")])) for _ in range(3)]
        while not asked:
            await asyncio.sleep(0)
        calls[0].cancel()
        free.set()
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in found] == [asyncio.CancelledError, dict, dict]
    assert asked == [False]


async def test_a_question_for_a_token_that_hangs_ends() -> None:
    asked, ended = 0, 0

    async def token(_: bool) -> str:
        nonlocal asked, ended
        asked += 1
        try:
            if asked < 3:
                await asyncio.Event().wait()
        finally:
            ended += 1
        return "good"

    answers = [{"status": 200, "body": {"counts": {}, "degraded": False}}]
    with Scripted(answers) as scripted:
        async with AsyncClient(scripted.url, token, retries=BRIEFLY, timeout_s=1) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.counts(["t"])
            for _ in range(10):  # turns of the loop, in which no time-out of its own comes
                await asyncio.sleep(0)
            assert ended == 1, "nobody waits for it any more"
            with pytest.raises(PlauditError) as failed:
                async with asyncio.timeout(30):
                    await client.counts(["t"])
            assert failed.value.temporary
            client._timeout_s = 30  # for the answer, which comes
            assert await client.counts(["t"]) == {}
    assert (asked, ended) == (3, 3)


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
async def test_a_stream_asks_for_a_new_token_also_where_there_was_none(
    server: ServerProcess, kind: str
) -> None:
    asked: list[bool] = []

    def token(renew: bool) -> str:
        asked.append(renew)
        return given.pop(0)  # type: ignore[return-value] # nobody yet

    given = [None, "<html>", server.token("ann", grants=["*"])]
    target = fresh("m")
    with Client(server.url, server.token(None, service=True)) as host:
        host.register_target(target, type="message")
    if kind == "blocking":
        with Client(server.url, token, retries=BRIEFLY) as client:
            blocking = client.stream([target])
            assert next(blocking)[target].total == 0
            blocking.close()  # type: ignore[attr-defined] # a generator has it
    else:
        async with AsyncClient(server.url, token, retries=BRIEFLY) as waiting:
            stream = waiting.stream([target])
            assert (await anext(stream))[target].total == 0
            await stream.aclose()  # type: ignore[attr-defined] # a generator has it
    assert asked == [False, True, True]


async def test_what_cannot_be_a_token_is_not_kept() -> None:
    """A page of errors does not go into a header, so that the service would never refuse it."""

    def token(_: bool) -> str:
        return said.pop(0)

    answers = [{"status": 200, "body": {"counts": {}, "degraded": False}}] * 2
    with Scripted(answers) as scripted, Client(scripted.url, token, retries=BRIEFLY) as client:
        said = ["<html>\r\n<h1>502 Bad Gateway</h1>\r\n</html>", "good\n"]
        with pytest.raises(PlauditError) as failed:
            client.counts(["t"])
        assert failed.value.temporary
        assert client.counts(["t"]) == {}
        async with AsyncClient(scripted.url, token, retries=BRIEFLY) as waiting:
            said = ['{"error": "busy"}', "good"]
            with pytest.raises(PlauditError):
                await waiting.counts(["t"])
            assert await waiting.counts(["t"]) == {}


UNKNOWN = {"status": 504, "body": {"code": "outcome_unknown"}}
REFUSED = {"status": 401, "body": {"code": "token_expired"}}


def broken(renew: bool) -> str:
    """A function for tokens whose source is gone when it is asked again."""
    if renew:
        raise ConnectionError("no token now")
    return "old"


@pytest.mark.parametrize(
    "token", [broken, lambda renew: "<html>" if renew else "old"], ids=["raises", "page"]
)
@pytest.mark.parametrize(
    ("answers", "stored"), [([UNKNOWN, REFUSED], None), ([REFUSED], False)], ids=["unknown", "refused"]
)
async def test_without_a_new_token_a_tap_of_unknown_outcome_keeps_its_key(
    token: Any, answers: list[Any], stored: bool | None
) -> None:
    """Whoever was told neither yes nor no can settle it."""
    with (
        Scripted([*answers, *answers]) as scripted,
        Client(scripted.url, token, retries=BRIEFLY) as client,
    ):
        with pytest.raises(PlauditError) as failed:
            client.toggle("t", "like")
        assert failed.value.key is not None
        assert (failed.value.temporary, failed.value.stored) == (True, stored)
        async with AsyncClient(scripted.url, token, retries=BRIEFLY) as waiting:
            with pytest.raises(PlauditError) as failed_too:
                await waiting.toggle("t", "like")
        assert failed_too.value.key not in {None, failed.value.key}
        assert (failed_too.value.temporary, failed_too.value.stored) == (True, stored)
        assert scripted.answers == []


async def test_taps_that_get_no_token_together_keep_a_key_each() -> None:
    async def token(_: bool) -> str:
        await asyncio.sleep(0)
        raise ConnectionError("no token now")

    async with AsyncClient("http://127.0.0.1:9", token, retries=ONE) as client:
        taps = (client.set("t", "like", key=key) for key in (None, None, "a"))
        failed = await asyncio.gather(*taps, return_exceptions=True)
    keys = [getattr(error, "key", None) for error in failed]
    assert keys[2] == "a"
    assert len({*keys} - {None}) == 3
    assert [getattr(error, "stored", "") for error in failed] == [False, False, None]


async def test_over_http_2_such_an_error_may_come_when_the_tap_has_left() -> None:
    """So it is an outage, and nobody knows what was stored."""
    tries = list[str]()

    def close(request: httpx.Request) -> httpx.Response:
        tries.append(request.method)
        raise httpx.LocalProtocolError("closed") from ProtocolError("closed")

    async with httpx.AsyncClient(transport=httpx.MockTransport(close)) as http:
        client = AsyncClient("http://plaudit.example", "t", http=http, retries=Retries(2, 0.001, 0.001))
        with pytest.raises(PlauditError) as failed:
            await client.set("t", "like")
    assert (failed.value.temporary, failed.value.stored, len(tries)) == (True, None, 2)


@pytest.mark.parametrize("kind", [httpx.LocalProtocolError, httpx.UnsupportedProtocol])
async def test_what_httpx_refuses_to_send_is_no_outage(kind: type[httpx.TransportError]) -> None:
    """It is tried once, a stream ends with it as well, and the text, which may have the token, is not shown."""
    tries = list[str]()

    def refuse(request: httpx.Request) -> httpx.Response:
        tries.append(request.method)
        raise kind(f"Illegal header value {request.headers['authorization']!r}")

    transport = httpx.MockTransport(refuse)
    failed = list[PlauditError]()
    with (
        httpx.Client(transport=transport) as http,
        Client("http://127.0.0.1:9", "secret", http=http) as client,
    ):
        for act in (lambda: client.set("t", "like"), lambda: next(client.stream(["t"]))):
            with pytest.raises(PlauditError) as refused:
                act()
            failed.append(refused.value)
    async with httpx.AsyncClient(transport=transport) as waiting:
        aio = AsyncClient("http://127.0.0.1:9", "secret", http=waiting)
        for asked in (aio.set("t", "like"), anext(aio.stream(["t"]))):
            with pytest.raises(PlauditError) as refused:
                await asked
            failed.append(refused.value)
    assert tries == ["PUT", "GET"] * 2
    for error in failed:
        assert (error.stored, error.temporary, error.status) == (False, False, None)
        assert kind.__name__ in str(error)
        assert "secret" not in "".join(traceback.format_exception(error))
    assert all(error.key for error in failed[::2])


class LongEnough(Exception):
    """The outage has lasted as long as it is to."""


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> httpx.MockTransport:
    """Nobody answers for more than a thousand tries, between which no time passes."""
    waits = iter(range(1100))

    def wait(_: float) -> None:
        if next(waits, None) is None:
            raise LongEnough

    async def wait_too(seconds: float) -> None:
        wait(seconds)

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody there", request=request)

    monkeypatch.setattr("plaudit.client.blocking.time.sleep", wait)
    monkeypatch.setattr("plaudit.client.aio.asyncio.sleep", wait_too)
    return httpx.MockTransport(refuse)


def test_a_stream_outlasts_any_outage(nobody: httpx.MockTransport) -> None:
    with httpx.Client(transport=nobody) as http:
        stream = Client("http://127.0.0.1:9", http=http).stream(["t"])
        with pytest.raises(LongEnough):
            next(stream)


async def test_an_asyncio_stream_outlasts_any_outage(nobody: httpx.MockTransport) -> None:
    async with httpx.AsyncClient(transport=nobody) as http:
        stream = AsyncClient("http://127.0.0.1:9", http=http).stream(["t"])
        with pytest.raises(LongEnough):
            await anext(stream)


def test_a_stream_that_is_refused_is_an_error(server: ServerProcess) -> None:
    with Client(server.url) as client, pytest.raises(PlauditError) as refused:
        next(client.stream(["a b"]))
    assert refused.value.code == "invalid_target_id"


async def test_counts_asked_for_at_once_are_one_call(server: ServerProcess) -> None:
    sent: list[httpx.Request] = []

    async def note(request: httpx.Request) -> None:
        sent.append(request)

    ids = [fresh("t") for _ in range(150)]
    async with httpx.AsyncClient(event_hooks={"request": [note]}) as http:
        client = AsyncClient(server.url, server.token("ann"), http=http)
        await client.set(ids[3], "like")
        found = await asyncio.gather(*(client.count(id_) for id_ in [*ids, ids[3]]))
        assert (found[3].total, found[-1].total, found[4].total) == (1, 1, 0)
        assert [request.method for request in sent] == ["PUT", "GET", "GET"]
        await client.close()
        assert not http.is_closed, "it is not ours to close"


async def test_a_count_that_is_refused_fails_for_those_who_asked_for_it(server: ServerProcess) -> None:
    """What is no id, and what the token may not see, cost one call more each, and nobody else their counts."""
    hidden, sent = fresh("m"), list[str]()
    with Client(server.url, server.token(None, service=True)) as host:
        host.register_target(hidden, type="message")

    async def note(request: httpx.Request) -> None:
        sent.append(request.url.params["target_ids"])

    async with httpx.AsyncClient(event_hooks={"request": [note]}) as http:
        client = AsyncClient(server.url, retries=ONE, http=http)
        wanted = ["a b", "stream", hidden, hidden, "t", "t", "a,b"]
        *bad, one, same, torn = await asyncio.gather(*map(client.count, wanted), return_exceptions=True)
    codes = [getattr(error, "code", None) for error in bad]
    assert codes == ["invalid_target_id"] * 2 + ["token_missing"] * 2
    assert len({*map(id, bad)}) == 4, "an exception for each"
    assert isinstance(one, Counts)
    assert one == same
    assert isinstance(torn, ValueError)
    assert sent == [f"a b,stream,{hidden},t", f"{hidden},t", "t"]


async def test_counts_that_are_refused_again_and_again_end() -> None:
    sent = list[str]()

    def refuse_the_first(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.params["target_ids"])
        told = {"code": "target_not_granted", "target_ids": [sent[-1].partition(",")[0]]}
        return httpx.Response(403, json=told, headers={"content-type": "application/problem+json"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse_the_first)) as http:
        client = AsyncClient("http://127.0.0.1:9", http=http)
        found = await asyncio.gather(
            *(client.count(f"t{number}") for number in range(5)), return_exceptions=True
        )
    assert sent == ["t0,t1,t2,t3,t4", "t1,t2,t3,t4", "t2,t3,t4"]
    assert [getattr(error, "targets", None) for error in found] == [("t0",), ("t1",), *[("t2",)] * 3]
    assert len({*map(id, found)}) == 5


async def test_a_count_that_is_left_out_fails() -> None:
    """Nobody waits for what does not come."""
    with Scripted([{"status": 200, "body": {"counts": {}, "degraded": False}}]) as scripted:
        async with AsyncClient(scripted.url) as client, asyncio.timeout(30):
            with pytest.raises(PlauditError):
                await client.count("t")


def test_it_gives_up_in_time_and_says_what_it_knows() -> None:
    answers: list[Any] = ["drop"] * 3
    with (
        Scripted(answers) as scripted,
        Client(scripted.url, "t", retries=Retries(3, 0.001)) as client,
        pytest.raises(PlauditError) as failed,
    ):
        client.set("t", "like", key="my-key")
    assert (failed.value.code, failed.value.stored, failed.value.key) == (None, None, "my-key")


def test_it_does_not_wait_for_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = list[float]()
    monkeypatch.setattr("plaudit.client.blocking.time.sleep", waits.append)
    refused = {"status": 503, "headers": {"retry-after": "60"}, "body": {"code": "overloaded"}}
    with (
        Scripted([refused]) as scripted,
        Client(scripted.url, "t") as client,
        pytest.raises(PlauditError) as failed,
    ):
        client.set("t", "like")
    assert failed.value.stored is False
    assert failed.value.retry_after_s == 60
    assert waits == []


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:9", retries=ONE) as client, pytest.raises(PlauditError) as failed:
        client.counts(["t"])
    assert (failed.value.code, failed.value.status, failed.value.temporary) == (None, None, True)


def test_a_comma_cannot_make_two_targets_of_one(server: ServerProcess) -> None:
    with Client(server.url) as client, pytest.raises(ValueError, match="comma"):
        client.counts(["a,b"])


async def test_a_token_may_come_from_anywhere(server: ServerProcess) -> None:
    async def token(renew: bool) -> str:
        await asyncio.sleep(0)
        return server.token("ann") if renew else "a.b.c"

    target = fresh("t")
    async with AsyncClient(server.url, token, retries=ONE) as client:
        assert (await client.toggle(target, "like")).outcome == "created"
        assert [each.target_id async for each in client.reacted()][:1] == [target]


def test_the_programs_of_the_manual_run(server: ServerProcess) -> None:
    manual = (Path(__file__).parents[3] / "docs" / "client.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```$", manual, re.MULTILINE | re.DOTALL)
    assert programs
    for program in programs:
        exec(program.replace("http://127.0.0.1:8080", server.url).replace("…", server.token("ann")), {})  # noqa: S102 - it is ours


def test_what_the_host_app_removes(server: ServerProcess) -> None:
    with Client(server.url, server.token(None, service=True)) as host:
        host.set(fresh("t"), "like", user="gone")
        for job in (host.erase_user("gone"), host.delete_target(fresh("t"))):
            deadline = time.monotonic() + 60
            while host.job(job.job_id).state != "done":
                assert time.monotonic() < deadline
        with pytest.raises(PlauditError) as refused:
            host.set(fresh("t"), "like", user="gone")
        assert refused.value.code == "user_erased"
