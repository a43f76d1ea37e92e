"""A consumer that is stuck cannot say so: it is asked beside its work."""

import math
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from plaudit.adapters.sqlite import Database, SqliteAudit
from plaudit.domain.errors import Unavailable
from plaudit.services import behind as service
from plaudit.services.audit import Auditor
from plaudit.services.behind import Behind
from plaudit.services.tell import Tell
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.notifying import notifier, own
from tests.support.scraped import value
from tests.support.stores import sqlite_stores, stores_on
from tests.support.taps import toggle
from tests.support.wait import until


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "EVERY_S", 0.005)


async def fail(*_: object) -> None:
    raise Unavailable("this read always fails")


@pytest.mark.parametrize(
    ("stuck", "expected"), [("notifier", (6, 6)), ("auditor", (0, 6)), ("nobody", (0, 0))]
)
async def test_what_is_kept_for_a_consumer_that_is_stuck_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck: str, expected: tuple[float, float]
) -> None:
    clock, metrics = ManualClock(), Metrics()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(tmp_path))
        stores, audit = stores_on(database, clock), SqliteAudit(database)
        notify = notifier(stores, clock, metrics=metrics)
        if stuck == "notifier":
            monkeypatch.setattr(Tell, "take", fail)
        if stuck == "auditor":
            monkeypatch.setattr(audit, "drift", fail)
        await own(stores, "t")
        await stack.enter_async_context(notify)
        await stack.enter_async_context(Auditor(audit, stores.log, metrics, every_s=0.005))
        for n in range(5):
            await stores.tap("t", toggle(f"u{n}"))

        def told() -> tuple[float, float]:
            return value(metrics, "plaudit_notifier_behind"), value(metrics, "plaudit_events_behind")

        if stuck == "nobody":
            await until(lambda: metrics.audited > 0, "the auditor")
        await until(lambda: told() == expected, f"what the {stuck} has not taken")


async def test_what_has_just_come_is_on_its_way_to_everybody(tmp_path: Path) -> None:
    metrics = Metrics()
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        behind = Behind(stores.log, "x", metrics, "plaudit_notifier_behind")

        async def told() -> float:
            await behind.ask()
            return value(metrics, "plaudit_notifier_behind")

        await stores.tap("t", toggle("ann"))
        assert await told() == 0
        await stores.tap("t", toggle("bob"))
        assert [await told(), await told()] == [1, 2]
        await stores.log.acknowledge("x", await stores.log.end())
        assert await told() == 0


async def test_where_nobody_knows_it_is_infinite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        behind = Behind(stores.log, None, metrics, "plaudit_events_behind")
        with monkeypatch.context() as broken:
            broken.setattr(stores.log, "behind", fail)
            await behind.ask()
        assert value(metrics, "plaudit_events_behind") == math.inf
        await behind.ask()
        assert value(metrics, "plaudit_events_behind") == 0
