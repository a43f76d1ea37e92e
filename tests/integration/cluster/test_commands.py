"""`plaudit audit`, `rebuild` and `warm` as commands, on real stores: what they print and how they end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import typer
from typer.testing import CliRunner, Result

from plaudit.adapters.system import SystemClock
from plaudit.cli.cluster import Report, Tools, add_commands
from plaudit.ports.transfer import Progress
from plaudit.services.audit_cells import CellAuditor
from plaudit.services.rebuild import Rebuild
from plaudit.services.warm import Warm
from plaudit.settings import Settings
from tests.engines.cassandra import Cassandra
from tests.engines.redis import Redis
from tests.support.redis import emptied
from tests.support.taps import LIKE
from tests.support.town import open_town

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("patient_redis")]

Run = Callable[..., Result]


@pytest.fixture
def looks() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def run(cassandra: Cassandra, redis: Redis, looks: list[tuple[int, int]]) -> Run:
    @contextmanager
    def going_on(_: str) -> Iterator[Progress]:
        yield lambda *look: looks.append(look)

    @asynccontextmanager
    async def auditor(_: Settings, repair: bool, __: float, report: Report) -> AsyncIterator[CellAuditor]:
        async with open_town(cassandra, redis, empty=False) as town:
            yield town.auditor(report, repair=repair)

    @asynccontextmanager
    async def rebuild(_: Settings, __: float) -> AsyncIterator[Rebuild]:
        async with open_town(cassandra, redis, empty=False) as town:
            yield town.rebuild()

    @asynccontextmanager
    async def warm(_: Settings, hours: float | None, per_s: float) -> AsyncIterator[Warm]:
        clock = SystemClock()
        since = None if hours is None else clock.now_us() - round(hours * 3.6e9)
        async with open_town(cassandra, redis, empty=False) as town:
            yield Warm(town.counts, town.totals, town.lists, town.sweep, clock, since=since, per_s=per_s)

    async def split(_: Settings, target: str) -> int:
        return 64 if target == "known" else refuse()

    def refuse() -> int:
        raise end(1)("nobody ever reacted to it")

    def end(code: int) -> Callable[[str], typer.Exit]:
        def ended(message: str) -> typer.Exit:
            typer.echo(message)
            return typer.Exit(code)

        return ended

    app = typer.Typer()
    add_commands(app, Tools(Settings, going_on, typer.echo, end(1), end(2), auditor, rebuild, split, warm))
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.fixture
def damaged(cassandra: Cassandra, redis: Redis) -> str:
    """A target of which one tap was not heard."""

    async def damage() -> str:
        async with open_town(cassandra, redis) as town:
            name, *_ = await town.inhabited()
            town.deaf = True
            await town.tap(name, eve=LIKE)
            return name

    return asyncio.run(damage())


def test_an_audit_reports_then_mends_and_is_content(
    run: Run, damaged: str, looks: list[tuple[int, int]]
) -> None:
    assert run("audit").exit_code == 2
    assert run("audit", "--all", "--target", "x").exit_code == 2
    found = run("audit", "--all")
    assert found.exit_code == 1, found.output
    assert f"lists: target {damaged}: user eve: no entry of 1" in found.output
    assert "--repair" in found.output
    assert looks[-1][0] == looks[-1][1]
    assert run("audit", "--target", damaged).exit_code == 1
    mended = run("audit", "--target", damaged, "--repair")
    assert mended.exit_code == 0, mended.output
    assert "1 cells compared, 4 disagreements" in mended.output
    assert run("audit", "--all").output == "3 cells compared, 0 disagreements\n"


def test_an_audit_says_of_how_many_targets_it_left_out_the_lists(
    run: Run, damaged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plaudit.services.compare.MOST_ROWS", 3)
    found = run("audit", "--target", damaged)
    assert "1 cells compared, 2 disagreements\nlists of 1 large targets were not compared" in found.output
    monkeypatch.setattr("plaudit.services.compare.MOST_ROWS", 1_000)
    assert "not compared" not in run("audit", "--target", damaged).output


def test_a_rebuild_says_what_it_filled_in(run: Run, damaged: str) -> None:
    assert run("audit", "--target", damaged).exit_code == 1
    done = run("rebuild")
    assert (done.exit_code, done.output) == (0, "3 cells, 10 reactions filled in\n")
    assert run("audit", "--all").exit_code == 0


def test_a_warmed_redis_says_what_was_brought(
    run: Run, damaged: str, redis: Redis, looks: list[tuple[int, int]]
) -> None:
    emptied(redis)
    assert run("warm", "--hours", "0").output == "0 targets brought, 0 were there; 3 looked at\n"
    assert run("warm").output == "3 targets brought, 0 were there; 3 looked at\n"
    assert looks[-1][0] == looks[-1][1]
    assert run("warm", "--all", "--per-s", "5", "--anew").output == (
        "0 targets brought, 3 were there; 3 looked at\n"
    )


def test_a_split_says_over_how_many_lanes(run: Run) -> None:
    result = run("split", "known")
    assert (result.exit_code, result.stdout) == (0, "known is split over 64 lanes\n")
    assert run("split", "unknown").exit_code == 1
