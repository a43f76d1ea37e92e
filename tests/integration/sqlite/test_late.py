"""A notifier that takes in every event and can tell nobody is seen, whatever it fails at."""

import math
from pathlib import Path
from typing import Any

import pytest

from plaudit.adapters.sqlite import Database, Numbers, SqliteBatches, SqliteInbox, SqliteLists
from plaudit.bootstrap.notifications import notifications
from plaudit.domain.errors import Unavailable
from plaudit.services import behind as service
from plaudit.services import notify
from plaudit.services.behind import Late
from plaudit.settings import Settings
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.notifying import notifier, own, settle
from tests.support.scraped import value
from tests.support.stores import stores_on
from tests.support.taps import toggle
from tests.support.wait import until


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "EVERY_S", 0.005)
    monkeypatch.setattr(notify, "RETRY_S", 0.005)


async def fail(*_: object) -> None:
    raise Unavailable("the disk refuses to read this")


def late_s(metrics: Metrics) -> float:
    return value(metrics, "plaudit_windows_late_seconds")


@pytest.mark.parametrize(
    ("port", "call"),
    [(SqliteBatches, "claim"), (SqliteLists, "reactions"), (SqliteInbox, "put"), (SqliteBatches, "save")],
)
async def test_a_window_that_cannot_be_told_is_late_until_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: type[Any], call: str
) -> None:
    clock, metrics = ManualClock(), Metrics()
    async with Database(tmp_path) as database:
        stores = stores_on(database, clock)
        await own(stores, "t")
        await stores.tap("t", toggle("ann"))
        await settle(notifier(stores, clock))
        clock.advance(100)
        with monkeypatch.context() as broken:
            broken.setattr(port, call, fail)
            async with notifications(Settings(data=tmp_path), database, Numbers(database), clock, metrics):
                await until(lambda: late_s(metrics) == 70, "a window that ended 70 s ago")
                assert value(metrics, "plaudit_notifier_behind") == 0
                clock.advance(31)
                await until(lambda: late_s(metrics) == 101, "and is claimed again and again")
                broken.undo()
                clock.advance(31)
                await until(lambda: late_s(metrics) == 0, "the message")
        assert len(await stores.inbox.page("owner", None, 10)) == 1


async def test_where_nobody_knows_it_is_infinite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, metrics = ManualClock(), Metrics()
    async with Database(tmp_path) as database:
        late = Late(SqliteBatches(database, clock), clock, metrics)
        with monkeypatch.context() as broken:
            broken.setattr(SqliteBatches, "next_due", fail)
            await late.ask()
        assert late_s(metrics) == math.inf
        await late.ask()
        assert late_s(metrics) == 0, "no window is open"
