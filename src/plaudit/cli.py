"""The command line. Exit codes: 0 fine, 1 something is at fault, 2 usage or settings, 3 the data cannot be used."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import IO, Annotated, Literal

import typer
import uvloop
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plaudit import __version__, bootstrap
from plaudit.doctor import examine
from plaudit.domain.errors import Conflict, Corrupt, Invalid, PlauditError
from plaudit.http.auth import issue
from plaudit.settings import Settings
from plaudit.terminal import progress_bar, show_import

cli = typer.Typer(
    name="plaudit",
    help="Plaudit: likes and reactions, exact and durable.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
notifications = typer.Typer(no_args_is_help=True, help="Look after pushes that were given up.")
cli.add_typer(notifications, name="notifications")
stderr = Console(stderr=True)


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAULT = 1
    USAGE = 2
    DATA = 3


def fail(message: str, code: Exit) -> typer.Exit:
    """Say what is wrong, in one line, and make the command end with `code`."""
    stderr.print(f"[bold red]plaudit:[/] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(code)


def load_settings(**overrides: object) -> Settings:
    """The settings, or the end of the command with the name of the one that is wrong."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type] # pydantic checks them
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()]
        raise fail("; ".join(lines), Exit.USAGE) from error
    except SettingsError as error:
        raise fail(str(error), Exit.USAGE) from error
    except (OSError, ValueError) as error:  # after pydantic's, which are ValueErrors too
        raise fail(f"plaudit.toml: {error}", Exit.USAGE) from error


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    demo: Annotated[bool | None, typer.Option("--demo", help="Serve the demo page at /demo.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Cluster profile: do the work of all workers in this process too.")
    ] = False,
) -> None:
    """Serve the API: the embedded profile (one process, one SQLite file in PLAUDIT_DATA) or, where the settings name
    Cassandra, Kafka and Redis Cluster, the cluster profile (docs/cluster.md).

    Stop it with Ctrl-C or SIGTERM: what is queued is committed and answered first. Being killed loses no acknowledged
    tap either. Settings come from plaudit.toml and PLAUDIT_* (docs/settings.md).
    """
    settings = load_settings(host=host, port=port, demo=demo)
    bootstrap.configure_logging(settings)
    try:
        uvloop.run(bootstrap.run(settings, everything=everything))
    except (Conflict, Corrupt) as error:
        raise fail(str(error), Exit.DATA) from error
    except (PlauditError, OSError) as error:
        raise fail(f"cannot serve on {settings.host}:{settings.port}: {error}", Exit.USAGE) from error


@cli.command()
def worker(
    role: Annotated[
        bootstrap.Role,
        typer.Argument(help="Which work to do."),
    ],
) -> None:
    """Do one kind of work of the cluster profile: any number of processes of each role share it (docs/cluster.md).

    `counters` keeps totals in Redis, `index` the lists of reactors and own state; `notify` tells owners; `flush` writes
    totals beside the ledger; `audit` compares everything derived with the ledger, and mends it; `repair` publishes what
    a dead process or an absent Kafka left unpublished. Answers /healthz, /readyz and /metrics on PLAUDIT_WORKER_PORT.
    Stop it with Ctrl-C or SIGTERM: what is in hand is finished first.
    """
    settings = load_settings()
    bootstrap.configure_logging(settings)
    try:
        uvloop.run(bootstrap.work(settings, role))
    except Invalid as error:
        raise fail(error.message, Exit.USAGE) from error
    except (PlauditError, OSError) as error:
        raise fail(f"worker {role}: {error}", Exit.DATA) from error


@cli.command()
def token(
    user: Annotated[str | None, typer.Option(help="The user the token is for.")] = None,
    scope: Annotated[str | None, typer.Option(help="`service` for the host app's calls.")] = None,
    grant: Annotated[
        list[str] | None, typer.Option(help="A target id, or a prefix ending in *; repeatable.")
    ] = None,
    ttl_s: Annotated[int, typer.Option(help="How long it is good for, in seconds.", min=1)] = 24 * 3600,
) -> None:
    """Print a token that the server on the same PLAUDIT_DATA accepts.

    For trying things out and for scripts; in production the host app signs its own tokens with the same secret.
    """
    if scope not in {None, "service"}:
        raise fail("--scope: the only scope is 'service'", Exit.USAGE)
    if user is None and scope is None:
        raise fail("name a --user, or --scope service", Exit.USAGE)
    settings = load_settings()
    secret = settings.secret()
    if secret is None:
        raise fail(
            "tokens are verified with PLAUDIT_JWKS here, so only the holder of its private key makes them",
            Exit.USAGE,
        )
    try:
        made = issue(
            secret,
            user=user,
            service=scope == "service",
            grants=grant or [],
            ttl_s=ttl_s,
            now_s=int(time.time()),
            audience=settings.audience,
            issuer=settings.issuer,
            user_claim=settings.user_claim,
        )
    except (PlauditError, ValueError) as error:
        raise fail(str(error), Exit.USAGE) from error
    typer.echo(made)


@cli.command()
def doctor() -> None:
    """Check the settings, the disk, the database and the clock, and say what to do about what is wrong.

    Safe while a server is running on the same data. Exits with 1 if something is at fault.
    """
    settings = load_settings()
    table = Table("check", "state", "what was found", box=None, pad_edge=False)
    findings = examine(settings)
    for finding in findings:
        table.add_row(finding.check, _STATES[finding.state], escape(finding.detail))
    Console().print(table)
    if any(finding.state == "fault" for finding in findings):
        raise typer.Exit(Exit.FAULT)


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
    Plaudit must not be running on the same data, unless it is a dry run. Ends with 1 if lines were refused.
    """
    settings = load_settings()
    chosen = _format_of(file, format_)
    aside = rejects or Path("import.rejects" if str(file) == "-" else f"{file}.rejects")
    with ExitStack() as stack, _going_on("Checking" if dry_run else "Importing", in_bytes=True) as look:
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
    if report.refused:
        raise typer.Exit(Exit.FAULT)


@cli.command()
def export(
    file: Annotated[Path, typer.Argument(help="The file to write; - writes to where you pipe it.")],
    format_: FormatOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file of that name.")] = False,
) -> None:
    """Write everything into a file: JSON lines that `plaudit import` takes whole, or CSV with the reactions alone.

    The file is of one moment, also while Plaudit is running, and appears under its name when it is complete.
    """
    settings = load_settings()
    with _going_on("Exporting") as look:
        done = bootstrap.export_file(settings, file, _format_of(file, format_), force=force, look=look)
    _say(f"{done.records:,} records written to {file}")
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
    """Copy the database into one file, checked and on disk, also while Plaudit is running.

    Without the secret, because who has it can act as anybody, and backups travel further than the data they are of.
    """
    settings = load_settings()
    with _going_on("Backing up") as look:
        secret = bootstrap.backup(settings, file, with_secret=with_secret, look=look)
    beside = f", the secret to {secret}" if secret else ""
    _say(f"{file.stat().st_size:,} bytes written to {file}{beside}")


@cli.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `plaudit backup` wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Do it although there is a database; that one is kept beside it.")
    ] = False,
) -> None:
    """Put a backup in the place of the database in PLAUDIT_DATA. Plaudit must not be running on it.

    Every version is raised above all that were ever shown, so that clients take the restored counts for the newer
    ones. What came after the backup is lost, deletions and erasures too: do those again (docs/moving-data.md).
    """
    settings = load_settings()
    with _going_on("Restoring") as look:
        kept, secret = bootstrap.restore(settings, file, force=force, look=look)
    _say(f"restored into {settings.data}{', with its secret' if secret else ''}")
    if kept is not None:
        _say(f"what was there before is in {kept}")


@cli.command()
def migrate() -> None:
    """Create or upgrade the schema of the cluster profile in Cassandra.

    Run it before the first start and before each new version, from one place at a time. What is up to date stays as it
    is; after an interruption, run it again. The embedded profile needs none of it: its file is upgraded at start.
    """
    settings = load_settings()
    try:
        applied = asyncio.run(bootstrap.migrate(settings))
    except Invalid as error:
        raise fail(error.message, Exit.USAGE) from error
    except PlauditError as error:
        raise fail(str(error), Exit.DATA) from error
    for name in applied:
        _say(f"applied {name}")
    if not applied:
        _say("the schema is up to date")


@notifications.command("dead-letters")
def dead_letters(
    after: Annotated[int, typer.Option(help="Only those with a higher number.", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)] = 100,
) -> None:
    """List pushes that were given up, the oldest first, with the reason (docs/notifications.md says what each means).

    The message itself is in its owner's inbox all the same. Safe while a server is running on the same data.
    """
    settings = load_settings()
    try:
        letters = bootstrap.dead_letters(settings, after, limit)
    except PlauditError as error:
        raise fail(str(error), Exit.DATA) from error
    table = Table("number", "since", "channel", "user", "target", "reason", "tries", box=None, pad_edge=False)
    for letter in letters:
        since = f"{datetime.fromtimestamp(letter.created_at / 1e6, UTC):%Y-%m-%d %H:%M:%S}Z"
        message = letter.notification
        words = (str(letter.no), since, letter.channel, message.owner, message.target, letter.reason)
        table.add_row(*map(escape, words), str(letter.tries))
    Console().print(table)
    if len(letters) == limit:
        _say(f"there may be more: --after {letters[-1].no}")


@notifications.command()
def resend(
    numbers: Annotated[list[int] | None, typer.Argument(help="Numbers that `dead-letters` lists.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Have dead letters sent again, after what was wrong is mended. A running server does it within a second."""
    if bool(numbers) is everything:
        raise fail("name the numbers, or --all", Exit.USAGE)
    settings = load_settings()
    try:
        count = bootstrap.resend(settings, None if everything else numbers)
    except PlauditError as error:
        raise fail(str(error), Exit.DATA) from error
    _say(f"{count:,} will be sent again")
    if numbers and count < len(set(numbers)):
        raise fail("the others are not among the dead letters", Exit.FAULT)


def _say(text: str) -> None:
    stderr.print(text, markup=False, highlight=False, soft_wrap=True)


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


@contextmanager
def _going_on(what: str, *, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for people, and the end of the command for whatever goes wrong."""
    try:
        with progress_bar(stderr, what, in_bytes=in_bytes) as look:
            yield look
    except Invalid as error:
        raise fail(error.message, Exit.FAULT) from error
    except BrokenPipeError as error:
        raise fail("nobody reads on", Exit.FAULT) from error
    except (PlauditError, OSError) as error:
        raise fail(str(error), Exit.DATA) from error
    except KeyboardInterrupt as error:
        raise fail(f"{what.lower()} was interrupted; run it again", Exit.FAULT) from error


_STATES = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "fault": "[bold red]fault[/]"}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@cli.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Plaudit: likes and reactions, exact and durable."""


def main() -> None:
    """Run the command line."""
    cli()
