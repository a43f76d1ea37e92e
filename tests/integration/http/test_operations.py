"""What operators see, and what a client sees when something fails inside."""

import asyncio
import logging
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from plaudit.adapters.sqlite import SqliteLedger
from plaudit.domain.errors import OutcomeUnknown, Unavailable
from plaudit.http import bodies
from plaudit.ports.ledger import CellResult, CellTaps
from plaudit.services.commit import Committer
from plaudit.services.read import Read
from tests.support.api import COUNTS, FEED, REACTIONS, Api, assert_problem, fresh, nothing_stored, open_api


def metric(text: str, name: str) -> float:
    """One value of the Prometheus text format."""
    [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[-1])


async def test_health_and_readiness(api: Api) -> None:
    assert (await api.call("GET", "/healthz")).text == "ok\n"
    ready = await api.call("GET", "/readyz")
    assert (ready.text, ready.headers["content-type"]) == ("ready\n", "text/plain; charset=utf-8")
    assert (await api.call("HEAD", "/readyz")).content == b""


async def test_metrics_count_what_was_answered(tmp_path: Path) -> None:
    async with open_api(tmp_path) as api:
        await api.tap("ann", "t")
        await api.tap("ann", "t")
        await api.call("GET", f"{COUNTS}?target_ids=", status=422)
        await api.call("POST", REACTIONS, json={}, status=401)
        response = await api.call("GET", "/metrics")
        assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = response.text
        assert metric(text, 'plaudit_taps_total{outcome="created"}') == 1
        assert metric(text, 'plaudit_taps_total{outcome="removed"}') == 1
        assert metric(text, 'plaudit_taps_total{outcome="token_missing"}') == 1
        assert metric(text, 'plaudit_requests_total{status="200"}') == 2
        assert metric(text, 'plaudit_requests_total{status="422"}') == 1
        assert metric(text, 'plaudit_request_seconds_count{call="tap"}') == 3
        assert metric(text, "plaudit_commits_total") == 2
        assert metric(text, "plaudit_writable") == 1
        assert metric(text, "plaudit_drift_total") == 0
        assert "ann" not in text


async def test_a_stopping_process_takes_no_taps_and_says_so(tmp_path: Path) -> None:
    async with open_api(tmp_path) as api:
        await api.service.drain()
        body = {"target_id": "t", "reaction_type": "like"}
        with nothing_stored(api):
            refused = await api.call("POST", REACTIONS, headers=api.bearer("ann"), json=body, status=503)
        assert_problem(refused, "unavailable")
        assert refused.headers["retry-after"] == "1"
        assert (await api.call("GET", "/readyz", status=503)).text == "stopping\n"
        await api.call("GET", "/healthz")
        await api.call("GET", f"{COUNTS}?target_ids=t")


class Held:
    """A disk that holds up every commit until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hangs, self.works = asyncio.Event(), asyncio.Event()
        commit = SqliteLedger.commit

        async def held(ledger: SqliteLedger, work: Sequence[CellTaps]) -> list[CellResult]:
            self.hangs.set()
            await self.works.wait()
            return await commit(ledger, work)

        monkeypatch.setattr(SqliteLedger, "commit", held)


async def test_draining_waits_for_the_taps_that_were_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_api(tmp_path) as api:
        held = Held(monkeypatch)
        tap = asyncio.create_task(api.tap("ann", "t"))
        await held.hangs.wait()
        draining = asyncio.ensure_future(api.service.drain())
        done, _ = await asyncio.wait({draining}, timeout=0.1)
        assert not done
        held.works.set()
        await draining
        assert (await tap)["outcome"] == "created"


async def test_what_a_disk_that_hangs_keeps_is_waited_for_by_nobody_but_the_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which has a time limit, as closing the file has."""
    held = Held(monkeypatch)
    async with asyncio.timeout(10), open_api(tmp_path) as api:
        tap = asyncio.create_task(api.tap("ann", "t"))
        await held.hangs.wait()
    tap.cancel()


async def test_a_full_queue_refuses_and_stores_exactly_the_rest(tmp_path: Path) -> None:
    async with open_api(tmp_path, max_waiting_taps=100, max_waiting_per_target=100) as api:
        headers = [api.host | {"Plaudit-User": fresh("u")} for _ in range(300)]
        body = {"target_id": "t", "reaction_type": "like"}
        answers = await asyncio.gather(
            *(api.client.put(REACTIONS, headers=each, json=body) for each in headers)
        )
        refused = [answer for answer in answers if answer.status_code != 200]
        assert refused
        for answer in refused:
            assert_problem(answer, "overloaded")
            assert answer.headers["retry-after"] == "1"
        assert (await api.counts("t"))["total"] == 300 - len(refused)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("disk full at /some/path"), "unavailable"),
        (OutcomeUnknown("I/O error at /some/path"), "outcome_unknown"),
        (RuntimeError("a secret"), "internal"),
    ],
)
async def test_failures_have_a_code_and_tell_no_secrets(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, code: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Committer, "submit", fail)
    monkeypatch.setattr(Read, "feed", fail)
    monkeypatch.setattr(Read, "targets", fail)
    monkeypatch.setattr("plaudit.services.near.NearCache.load", fail)
    caplog.set_level(logging.CRITICAL, "plaudit.http" if code != "internal" else "")
    body = {"target_id": "t", "reaction_type": "like"}
    for answer in (
        await api.client.post(REACTIONS, headers=api.bearer("ann"), json=body),
        await api.client.get(f"{FEED}?target_ids=t"),
        await api.client.get(f"{REACTIONS}/t"),
        await api.client.get(f"{COUNTS}?target_ids=t&_=1"),
    ):
        assert_problem(answer, code)
        assert "secret" not in answer.text
        assert "/some/path" not in answer.text
        assert ("retry-after" in answer.headers) == (code != "internal")


async def test_failures_that_nobody_foresaw_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Or no alert would see a mistake of ours."""

    def fail(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    async with open_api(tmp_path) as api:
        monkeypatch.setattr(Committer, "submit", fail)
        monkeypatch.setattr("plaudit.services.near.NearCache.load", fail)
        body = {"target_id": "t", "reaction_type": "like"}
        await api.call("POST", REACTIONS, headers=api.bearer("ann"), json=body, status=500)
        for path in (COUNTS, f"{REACTIONS}/stream", FEED):
            await api.call("GET", f"{path}?target_ids=t", status=500)
        text = (await api.call("GET", "/metrics")).text
        assert metric(text, 'plaudit_taps_total{outcome="internal"}') == 1
        assert metric(text, 'plaudit_requests_total{status="500"}') == 4
        for call in ("tap", "counts", "stream", "feed"):
            assert metric(text, f'plaudit_request_seconds_count{{call="{call}"}}') == 1
    assert caplog.text.count("RuntimeError: a mistake of ours") == 4


@pytest.mark.parametrize("first", [[], [{"type": "http.request", "body": b"{", "more_body": True}]])
async def test_a_body_that_does_not_come_is_not_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch, first: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(bodies, "BODY_WITHIN_S", 0.02)
    messages = list(first)

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    assert_problem(await call_raw(api, FEED, receive), "invalid_json")


@pytest.mark.parametrize("path", [REACTIONS, FEED])
@pytest.mark.parametrize("first", [[], [{"type": "http.request", "body": b"{", "more_body": True}]])
async def test_a_body_that_breaks_off_is_refused(api: Api, path: str, first: list[dict[str, Any]]) -> None:
    messages = [{"type": "http.disconnect"}, *first]

    async def receive() -> dict[str, Any]:
        return messages.pop()

    with nothing_stored(api):
        assert_problem(await call_raw(api, path, receive), "invalid_json")


async def call_raw(api: Api, path: str, receive: bodies.Receive) -> httpx.Response:
    """A POST whose body comes from `receive`."""
    headers = api.bearer("ann") | {"content-type": "application/json"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async with asyncio.timeout(5):
        await api.service.app(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=sent[1]["body"])
