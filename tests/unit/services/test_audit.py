"""The auditor sees drift, passes over what it cannot read, and lets old events go."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from plaudit.adapters.sqlite import Database, SqliteAudit, inspect
from plaudit.adapters.sqlite import audit as counting
from plaudit.domain.errors import Unavailable
from plaudit.ports.audit import Compared, Drift
from plaudit.services import aside, audit
from plaudit.services.audit import Auditor
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.damage import damage
from tests.support.notifying import notifier
from tests.support.stores import Stores, stores_on
from tests.support.taps import toggle
from tests.support.wait import happens


@asynccontextmanager
async def auditing(folder: Path) -> AsyncIterator[tuple[Stores, Auditor, Metrics]]:
    async with Database(folder) as database:
        stores, metrics = stores_on(database, ManualClock()), Metrics()
        await stores.log.acknowledge(audit.CONSUMER, 0)  # as it does at its start
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
        assert (metrics.audited, metrics.drift) == (5, 0)
        assert await stores.log.read("somebody new", 10) == []


async def test_a_header_that_does_not_equal_its_rows_is_drift(tmp_path: Path) -> None:
    async with auditing(tmp_path) as (stores, auditor, metrics):
        await stores.tap("t", toggle("ann"))
        await stores.tap("fine", toggle("ann"))
        tamper(tmp_path, "UPDATE target SET counts = '[7]' WHERE id = 't'")
        await auditor.look()
        assert (metrics.audited, metrics.drift) == (2, 1)


async def test_an_event_that_cannot_be_read_is_passed_over_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise Unavailable("not now")

    async with auditing(tmp_path) as (stores, auditor, metrics):
        notify = notifier(stores, ManualClock(), metrics=metrics)
        await stores.tap("t", toggle("ann"))
        tamper(tmp_path, "UPDATE event SET bodies = x'91C403616263'")  # an array of one body: "abc"
        await stores.tap("u", toggle("ann"))
        for read_again in (notify.follow, auditor.look):
            with monkeypatch.context() as broken:
                broken.setattr(stores.log, "acknowledge", refuse)
                with pytest.raises(Unavailable):
                    await read_again()
            await read_again()
        assert (metrics.unreadable_events, metrics.audited) == (1, 2)  # the second one, twice
        assert await stores.log.read("somebody new", 10) == []


async def test_too_much_to_look_at_is_sampled_and_let_go(tmp_path: Path) -> None:
    async with auditing(tmp_path) as (stores, auditor, metrics):
        for n in range(audit.EVENTS_PER_LOOK + audit.MAX_BEHIND + 10):
            await stores.tap(f"t{n}", toggle("ann"))
        await auditor.look()
        assert metrics.audited == audit.EVENTS_PER_LOOK
        assert await stores.log.read("somebody new", 10) == []


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows are many."""
    monkeypatch.setattr(audit, "MAX_ROWS", 2)


async def crowd(stores: Stores, target: str) -> None:
    await stores.tap(target, *(toggle(f"u{n}") for n in range(3)))


@pytest.mark.usefixtures("large")
async def test_large_targets_are_compared_too_one_after_the_other(tmp_path: Path) -> None:
    async with auditing(tmp_path) as (stores, auditor, metrics):
        for target in ("a", "b", "c"):
            await crowd(stores, target)
        await stores.tap("small", toggle("ann"))
        tamper(tmp_path, "UPDATE target SET counts = '[7]' WHERE id = 'b'")
        await auditor.look()
        seen = [(metrics.audited, metrics.drift)]
        for _ in range(3):
            assert await auditor.look_at_large() > 0, "it has to rest after counting"
            seen.append((metrics.audited, metrics.drift))
        assert await auditor.look_at_large() == 0, "there is nothing left"
        assert seen == [(1, 0), (2, 0), (3, 1), (4, 1)]


@pytest.mark.usefixtures("large")
async def test_a_count_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "COUNT_WITHIN_S", 0.0)
    monkeypatch.setattr(counting, "_STEPS_BETWEEN_LOOKS", 1)
    async with auditing(tmp_path) as (stores, auditor, metrics):
        await crowd(stores, "t")
        await auditor.look()
        await auditor.look_at_large()
        assert (metrics.audited, metrics.drift) == (0, 0)
        assert "the rows of t cannot be counted in 0 s" in caplog.text
        assert await auditor.look_at_large() == 0


@pytest.mark.usefixtures("large")
async def test_large_targets_that_wait_to_be_compared_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "LARGE_WAITING", 2)
    async with auditing(tmp_path) as (stores, auditor, metrics):
        for n in range(5):
            await crowd(stores, f"t{n}")
        await auditor.look()
        for _ in range(5):
            await auditor.look_at_large()
        assert metrics.audited == 2


async def test_no_failure_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(aside, "PAUSE_S", 0.0)

    class Broken:
        calls = 0

        async def drift(self, targets: object, max_rows: int) -> Compared:
            self.calls += 1
            if self.calls <= 3:
                raise RuntimeError("a mistake of ours")
            return Compared(1, [], [])

        async def drift_of_large(self, target: str, within_s: float) -> Drift | None:
            return None

    async with auditing(tmp_path) as (stores, _, metrics):
        await stores.tap("t", toggle("ann"))
        async with Auditor(Broken(), stores.log, metrics, every_s=0.001):

            async def let_go() -> bool:
                return await stores.log.read("somebody new", 10) == []

            await happens(let_go, "the end of what was looked at")
        assert "a mistake of ours" in caplog.text


async def test_a_target_that_cannot_be_read_is_put_aside_and_the_others_are_compared(tmp_path: Path) -> None:
    async with auditing(tmp_path) as (stores, _, _):
        for target in ("a", "bad", "b"):
            for n in range(100, 300, 100):  # more than two pages
                await stores.tap(target, *(toggle(f"{target}-u{m}") for m in range(n, n + 100)))
    damage(tmp_path / "plaudit.db", "reaction_row", b"bad-u200")
    async with auditing(tmp_path) as (stores, auditor, metrics):
        await auditor.look()
        assert (metrics.audited, metrics.drift, metrics.events_quarantined["audit"]) == (2, 0, 1)
        assert await stores.log.read("somebody new", 10) == []


async def test_an_auditor_that_cannot_look_at_anything_does_not_have_all_events_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MAX_BEHIND", 3)

    async def fail(*_: object) -> None:
        raise Unavailable("this read always fails")

    async with auditing(tmp_path) as (stores, auditor, _):
        monkeypatch.setattr(auditor, "_audit", SimpleNamespace(drift=fail))
        for n in range(5):
            await stores.tap(f"t{n}", toggle("ann"))
            with pytest.raises(Unavailable):
                await auditor.look()
        assert len(await stores.log.read("somebody new", 10)) == 1


@pytest.mark.parametrize(("within_s", "compared", "drifted", "uncounted"), [(10.0, 3, 1, 0), (0.0, 1, 0, 2)])
async def test_the_doctor_counts_the_largest_targets_for_a_while(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    within_s: float,
    compared: int,
    drifted: int,
    uncounted: int,
) -> None:
    monkeypatch.setattr(counting, "_STEPS_BETWEEN_LOOKS", 1)
    async with auditing(tmp_path) as (stores, _, _):
        for target in ("a", "b"):
            await crowd(stores, target)
        await stores.tap("small", toggle("ann"))
        tamper(tmp_path, "UPDATE target SET counts = '[7]' WHERE id = 'a'")
        found = inspect(tmp_path, 10, 2, within_s)
        assert (found.compared, len(found.drifted), found.uncounted) == (compared, drifted, uncounted)
