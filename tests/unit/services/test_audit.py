"""The auditor sees drift, passes over what it cannot read, and lets old events go."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw

from plaudit.adapters.sqlite import Database, SqliteAudit
from plaudit.services import audit
from plaudit.services.audit import Auditor
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.stores import Stores, stores_on
from tests.support.taps import toggle


@asynccontextmanager
async def auditing(folder: Path) -> AsyncIterator[tuple[Stores, Auditor, Metrics]]:
    async with Database(folder) as database:
        stores, metrics = stores_on(database, ManualClock()), Metrics()
        yield stores, Auditor(SqliteAudit(database), stores.log, metrics), metrics


def tamper(folder: Path, statement: str) -> None:
    """Change the file behind everybody's back."""
    connection = apsw.Connection(str(folder / "plaudit.db"))
    connection.set_busy_timeout(5000)
    connection.execute(statement)
    connection.close()


async def test_a_whole_ledger_has_no_drift_and_its_events_are_let_go(tmp_path: Path) -> None:
    async with auditing(tmp_path) as (stores, auditor, metrics):
        for n in range(5):
            await stores.tap(f"t{n}", toggle("ann"), toggle("bob"))
        await auditor.look()
        assert (metrics.audited, metrics.drift, metrics.unreadable) == (5, 0, 0)
        assert await stores.log.read("somebody new", 10) == []


async def test_a_header_that_does_not_equal_its_rows_is_drift(tmp_path: Path) -> None:
    async with auditing(tmp_path) as (stores, auditor, metrics):
        await stores.tap("t", toggle("ann"))
        await stores.tap("fine", toggle("ann"))
        tamper(tmp_path, "UPDATE target SET counts = '[7]' WHERE id = 't'")
        await auditor.look()
        assert (metrics.audited, metrics.drift) == (2, 1)


async def test_an_event_that_cannot_be_read_is_counted_and_passed_over(tmp_path: Path) -> None:
    async with auditing(tmp_path) as (stores, auditor, metrics):
        await stores.tap("t", toggle("ann"))
        tamper(tmp_path, "UPDATE event SET bodies = x'91C403616263'")  # an array of one body: "abc"
        await stores.tap("u", toggle("ann"))
        await auditor.look()
        assert (metrics.unreadable, metrics.audited) == (1, 1)
        assert await stores.log.read(audit.CONSUMER, 10) == []


async def test_too_much_to_look_at_is_sampled_and_let_go(tmp_path: Path) -> None:
    async with auditing(tmp_path) as (stores, auditor, metrics):
        for n in range(audit.EVENTS_PER_LOOK + audit.MAX_BEHIND + 10):
            await stores.tap(f"t{n}", toggle("ann"))
        await auditor.look()
        assert metrics.audited == audit.EVENTS_PER_LOOK
        assert await stores.log.read("somebody new", 10) == []
