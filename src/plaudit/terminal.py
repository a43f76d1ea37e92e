"""What long commands show on a terminal: a bar while they run, and a report at their end. Decides nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from plaudit.domain.merge import Tally
from plaudit.domain.transfer import REFUSALS, SKIPS
from plaudit.services.transfer import Report


@contextmanager
def progress_bar(console: Console, what: str, *, in_bytes: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar that is moved by calling it with how much is done, of how much (0: nobody knows).

    Nothing is shown where nobody watches.
    """
    amount = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        amount,
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def look(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total or None)

        yield look


def show_import(console: Console, report: Report, *, dry_run: bool, rejects: Path | None) -> None:
    """The validation report: what became of every line, then the first refused ones."""
    table = Table("lines", "what became of them", box=None, pad_edge=False)
    table.columns[0].justify = "right"
    for number, what in _outcomes(report.tally, dry_run=dry_run):
        table.add_row(f"{number:,}", what)
    for code, number in report.refused.most_common():
        table.add_row(f"{number:,}", Text(f"refused, {code}: {REFUSALS.get(code, '')}", "red"))
    console.print(table)
    for example in report.examples:
        field = f" ({example.field})" if example.field else ""
        text = f"line {example.line}: {example.code}{field}: {example.message}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    rate = report.lines / report.seconds if report.seconds else 0
    end = f"{report.lines:,} lines in {report.seconds:.1f} s, {rate:,.0f} lines/s"
    if dry_run:
        end += "; a dry run, nothing is stored"
    elif report.stopped:
        end += f"; stopped: lines up to {report.stored_to:,} are stored, the others are not"
    if rejects is not None:
        end += f"; refused lines are in {rejects}"
    console.print(end, markup=False, highlight=False, soft_wrap=True)


def _outcomes(tally: Tally, *, dry_run: bool) -> Iterator[tuple[int, str]]:
    would = "would be " if dry_run else ""
    for number, what in (
        (tally.created, "reactions {}taken in"),
        (tally.changed, "reactions {}taken in, in the place of older ones"),
        (tally.targets, "targets {}taken in"),
        (tally.users, "users {}taken in"),
    ):
        if number:
            yield number, what.format(would)
    for code, meaning in SKIPS.items():
        if tally.skipped[code]:
            yield tally.skipped[code], f"left out: {meaning}"
