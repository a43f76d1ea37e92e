"""Commands that move a whole installation: import, export, backup, restore."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal

import typer

from plaudit import bootstrap
from plaudit.cli.base import Exit, fail, going_on, load_settings, place, say, stderr
from plaudit.terminal import show_import

cli = typer.Typer()

FormatOption = Annotated[
    Literal["jsonl", "csv"] | None,
    typer.Option(
        "--format", help="By default what the name ends in: .jsonl, .ndjson or .csv, and perhaps .gz."
    ),
]


@cli.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The file to read; - reads what is piped in.")],
    format_: FormatOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, say what would happen, and store nothing.")
    ] = False,
    on_error: Annotated[
        Literal["stop", "skip"],
        typer.Option(help="At a line that cannot be taken in: stop there, or put it aside and go on."),
    ] = "stop",
    rejects: Annotated[
        Path | None, typer.Option(help="Where `skip` puts such lines. [default: FILE.rejects]")
    ] = None,
) -> None:
    """Take over reactions from a file of JSON lines or CSV, each with the time at which it was given.

    A line is `{"target_id": …, "user_id": …, "reaction": "like", "created_at": "2026-05-01T12:30:00Z"}`, perhaps with
    `updated_at` and `target_type`; what `plaudit export` writes is taken whole (docs/moving-data.md). What is newer
    here stays, nobody is notified, and importing a file again changes nothing: after an interruption, run it again.
    In the embedded profile Plaudit must not be running on the same data, unless it is a dry run; a cluster may serve
    meanwhile. Ends with 1 if lines were refused.
    """
    settings = load_settings()
    chosen = _format_of(file, format_)
    aside = (rejects or Path("import.rejects" if str(file) == "-" else f"{file}.rejects")).absolute()
    with ExitStack() as stack, going_on("Checking" if dry_run else "Importing", in_bytes=True) as look:
        out: list[IO[bytes]] = []

        def reject(line: bytes) -> None:
            if on_error == "skip" and not dry_run:
                if not out:
                    out.append(stack.enter_context(aside.open("wb")))
                out[0].write(line)

        report = asyncio.run(
            bootstrap.import_file(
                settings, file, chosen, dry_run=dry_run, on_error=on_error, reject=reject, look=look
            )
        )
    show_import(stderr, report, dry_run=dry_run, rejects=aside if out else None)
    if not dry_run and not settings.clustered:
        say(f"into {place(settings)}")
    if report.refused:
        raise typer.Exit(Exit.FAULT)


@cli.command()
def export(
    file: Annotated[Path, typer.Argument(help="The file to write; - writes to where you pipe it.")],
    format_: FormatOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file of that name.")] = False,
) -> None:
    """Write everything into a file: JSON lines that `plaudit import` takes whole, or CSV with the reactions alone.

    The file is of one moment, also while Plaudit is running (in the cluster each target is, as far as one read holds
    it), and appears under its name when it is complete.
    """
    settings = load_settings()
    with going_on("Exporting") as look:
        done = asyncio.run(
            bootstrap.export_file(settings, file, _format_of(file, format_), force=force, look=look)
        )
    say(f"{done.records:,} records written to {file if str(file) == '-' else file.absolute()}")
    if done.unknown:
        raise fail(
            f"{done.unknown:,} records are left out: their reactions are not in the catalogue. "
            "Set PLAUDIT_REACTIONS as it was, with `retired`, and export again.",
            Exit.FAULT,
        )


@cli.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write. It must not exist.")],
    with_secret: Annotated[
        bool, typer.Option("--with-secret", help="Put the secret beside it, into FILE.secret.")
    ] = False,
) -> None:
    """Copy the database of the embedded profile into one file, checked and on disk, also while Plaudit is running.

    In the cluster: take snapshots of Cassandra (docs/moving-data.md).

    Without the secret, because who has it can act as anybody, and backups travel further than the data they are of.
    """
    settings = load_settings()
    with going_on("Backing up") as look, _stopped_in_order():
        secret = bootstrap.backup(settings, file, with_secret=with_secret, look=look)
    beside = f", the secret to {secret.absolute()}" if secret else ""
    say(f"{file.stat().st_size:,} bytes of {place(settings)} written to {file.absolute()}{beside}")


@cli.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `plaudit backup` wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Do it although there is a database; that one is kept beside it.")
    ] = False,
) -> None:
    """Put a backup in the place of the database in PLAUDIT_DATA. Plaudit must not be running on it.

    In the cluster: restore snapshots of Cassandra, then `plaudit rebuild` (docs/moving-data.md).

    Every version is raised above all that were ever shown, so that clients take the restored counts for the newer
    ones. What came after the backup is lost, deletions and erasures too: do those again (docs/moving-data.md).
    """
    settings = load_settings()
    with going_on("Restoring") as look, _stopped_in_order():
        kept, secret = bootstrap.restore(settings, file, force=force, look=look)
    say(f"restored into {place(settings)}{', with its secret' if secret else ''}")
    if kept is not None:
        say(f"what was there before is in {kept}")


@contextmanager
def _stopped_in_order() -> Iterator[None]:
    """Inside, SIGTERM (a supervisor's way to stop it) ends a copy as Ctrl-C does: what is half-made is removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _format_of(file: Path, chosen: Literal["jsonl", "csv"] | None) -> Literal["jsonl", "csv"]:
    """The format asked for, or what the name says."""
    if chosen is not None:
        return chosen
    name = file.name.removesuffix(".gz")
    if name.endswith(".csv"):
        return "csv"
    if name.endswith((".jsonl", ".ndjson")) or name == "-":
        return "jsonl"
    raise fail(f"{file}: which format is that? Add --format jsonl or --format csv", Exit.USAGE)
