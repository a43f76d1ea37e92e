"""Commands of the cluster profile: `plaudit audit`, `rebuild`, `split`, `warm`. How parts are built they are told."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Annotated, NamedTuple

import typer

from plaudit.ports.transfer import Progress
from plaudit.services.audit_cells import CellAuditor
from plaudit.services.compare import Drift
from plaudit.services.rebuild import Rebuild
from plaudit.services.warm import PER_S, Warm
from plaudit.settings import Settings

Report = Callable[[Drift], None]


class Tools(NamedTuple):
    """What the commands share with all others, and their parts.

    `going_on`: a progress bar, and the end of the command for whatever goes wrong. `fault` and `usage` say what is
    wrong and make the command end with 1 and 2. `auditor(settings, repair, rows_per_s, report)` and
    `rebuild(settings, rows_per_s)` open everything they need, and so do `split(settings, target)` and
    `warm(settings, hours, per_s)`.
    """

    settings: Callable[[], Settings]
    going_on: Callable[[str], AbstractContextManager[Progress]]
    say: Callable[[str], None]
    fault: Callable[[str], typer.Exit]
    usage: Callable[[str], typer.Exit]
    auditor: Callable[[Settings, bool, float, Report], AbstractAsyncContextManager[CellAuditor]]
    rebuild: Callable[[Settings, float], AbstractAsyncContextManager[Rebuild]]
    split: Callable[[Settings, str], Coroutine[None, None, int]]
    warm: Callable[[Settings, float | None, float], AbstractAsyncContextManager[Warm]]


def add_commands(cli: typer.Typer, tools: Tools) -> None:
    """Add the commands."""
    _add_split(cli, tools)
    _add_warm(cli, tools)

    @cli.command()
    def audit(
        target: Annotated[str | None, typer.Option(help="Look at this target alone.")] = None,
        everything: Annotated[bool, typer.Option("--all", help="Look at everything.")] = False,
        repair: Annotated[bool, typer.Option("--repair", help="Mend what is derived.")] = False,
        rows_per_s: Annotated[
            float, typer.Option(help="How fast: rows and entries looked at a second.", min=1)
        ] = 20_000.0,
    ) -> None:
        """Compare every count with its rows, and everything derived with the counts (cluster profile).

        Counters in Redis, flushed totals, lists of reactors and the index of each user are compared with the ledger,
        while everything is running. `--repair` mends them from it, and stores a job for a target that is being deleted
        and has none. A ledger that disagrees with itself is reported and never touched. An audit of everything that was
        interrupted goes on where it was. Lists and index of a target with more than 200,000 rows are left out.

        Prints a line for each thing that disagrees, and says of how many large targets it left out the lists. Ends with
        1 if anything that disagrees was not mended.
        """
        if (target is None) is not everything:
            raise tools.usage("name a --target, or --all")
        settings = tools.settings()
        drift: list[Drift] = []
        with tools.going_on("Auditing") as look:
            auditor = tools.auditor(settings, repair, rows_per_s, drift.append)
            done = asyncio.run(_audit(auditor, target, look))
        for one in drift:
            user = f" user {one.user}:" if one.user is not None else ""
            typer.echo(f"{one.store}: target {one.target}:{user} {one.what}")
        tools.say(f"{done.audited:,} cells compared, {len(drift):,} disagreements")
        if done.lists_left_out:
            tools.say(
                f"lists of {done.lists_left_out:,} large targets were not compared: see docs/known-gaps.md"
            )
        if done.unsettled:
            tools.say(f"{done.unsettled:,} cells were changing all the time: look at them again later")
        left = [one for one in drift if not repair or one.store == "ledger"]
        if left:
            raise tools.fault(
                f"{len(left):,} things disagree"
                + ("; the ledger is not touched, please report this as a bug" if repair else ": see --repair")
            )

    @cli.command()
    def rebuild(
        anew: Annotated[
            bool, typer.Option("--anew", help="From the start, although an earlier one was interrupted.")
        ] = False,
        rows_per_s: Annotated[float, typer.Option(help="How fast: rows read a second.", min=1)] = 20_000.0,
    ) -> None:
        """Empty everything derived and fill it again from the ledger (cluster profile).

        For after a restore of Cassandra: what was derived from the lost state would refuse the older one for ever.
        Stop every `worker index` first, and empty Redis (FLUSHALL on every master); docs/cluster.md has the steps.
        Taps may go on meanwhile; lists are incomplete until it is done. One that was interrupted goes on where it was.
        """
        settings = tools.settings()
        with tools.going_on("Rebuilding") as look:
            done = asyncio.run(_rebuild(tools.rebuild(settings, rows_per_s), look, anew=anew))
        tools.say(f"{done.cells:,} cells, {done.entries:,} reactions filled in")
        for line in done.unreadable:
            typer.echo(f"cannot be read: {line}")
        if done.unreadable:
            raise tools.fault(
                f"{len(done.unreadable):,} cells cannot be read, so nothing of them was filled in"
            )


def _add_split(cli: typer.Typer, tools: Tools) -> None:
    @cli.command()
    def split(target: Annotated[str, typer.Argument(help="Its id.")]) -> None:
        """Split a target over lanes before it gets too hot (cluster profile).

        For a post that everybody will react to. Taps go on meanwhile, and in the lanes after it. A target stays split
        for ever. What was not tried on split targets yet is in docs/known-gaps.md (`viral-splits`).
        """
        settings = tools.settings()
        with tools.going_on("Splitting"):
            lanes = asyncio.run(tools.split(settings, target))
        tools.say(f"{target} is split over {lanes} lanes")


def _add_warm(cli: typer.Typer, tools: Tools) -> None:
    @cli.command()
    def warm(
        hours: Annotated[
            float, typer.Option(help="Targets that were touched in the last so many hours.", min=0)
        ] = 24.0,
        everything: Annotated[
            bool, typer.Option("--all", help="Every target, however long nobody touched it.")
        ] = False,
        anew: Annotated[
            bool, typer.Option("--anew", help="From the start, although an earlier one was interrupted.")
        ] = False,
        per_s: Annotated[
            float, typer.Option(help="How fast: targets read from Cassandra a second.", min=1)
        ] = PER_S,
    ) -> None:
        """Bring totals into an empty Redis before readers ask for them (cluster profile).

        For after a FLUSHALL, or before a new Redis takes over. Reading alone fills it too, and asks Cassandra for a
        bounded number of targets at once; this spares readers the wait. Everything may go on meanwhile, and what is
        there and as new stays. New targets of the last five minutes are not known to it yet. One that was interrupted
        goes on where it was.
        """
        settings = tools.settings()
        with tools.going_on("Warming") as look:
            parts = tools.warm(settings, None if everything else hours, per_s)
            done = asyncio.run(_warm(parts, look, anew=anew))
        tools.say(
            f"{done.brought:,} targets brought, {done.there:,} were there; {done.looked_at:,} looked at"
        )


async def _audit(
    parts: AbstractAsyncContextManager[CellAuditor], target: str | None, look: Progress
) -> CellAuditor:
    async with parts as auditor:
        if target is not None:
            await auditor.target(target)
        else:
            await auditor.everything("command", look)
        return auditor


async def _rebuild(parts: AbstractAsyncContextManager[Rebuild], look: Progress, *, anew: bool) -> Rebuild:
    async with parts as rebuild:
        await rebuild.run(look, anew=anew)
        return rebuild


async def _warm(parts: AbstractAsyncContextManager[Warm], look: Progress, *, anew: bool) -> Warm:
    async with parts as warm:
        await warm.run(look, anew=anew)
        return warm
