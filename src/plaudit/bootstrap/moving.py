"""Builds what moves a whole installation: import, export, backup and restore."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from plaudit.adapters.files import LineFile, give, new_file
from plaudit.adapters.secret import SECRET_FILE
from plaudit.adapters.sqlite import Database, Numbers, SqliteCopies, SqliteIntake, SqlitePreview, SqliteSource
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.process import spare_the_collector
from plaudit.bootstrap.roles import drivers
from plaudit.domain.errors import Unavailable
from plaudit.domain.transfer import MAX_LINE_BYTES, Parser
from plaudit.ports.transfer import Intake, Progress, Source
from plaudit.services.transfer import Export, Format, Import, OnError, Report
from plaudit.settings import Settings

SECRET_SUFFIX = ".secret"  # noqa: S105 - the end of a file's name, not a secret


@asynccontextmanager
async def intake(settings: Settings, *, dry_run: bool) -> AsyncIterator[Intake]:
    """What takes imported records in. Raises `Conflict` if a service runs on the same file and it is no dry run."""
    if settings.clustered:
        with drivers():
            from plaudit.bootstrap import moving_cluster
        async with moving_cluster.intake(settings, dry_run=dry_run) as store:
            yield store
        return
    if dry_run:
        yield SqlitePreview(settings.data)
        return
    async with Database(settings.data) as database:
        yield SqliteIntake(database, SystemClock(), Numbers(database))


@asynccontextmanager
async def source(settings: Settings) -> AsyncIterator[Source]:
    """What gives every record out."""
    if settings.clustered:
        with drivers():
            from plaudit.bootstrap import moving_cluster
        async with moving_cluster.source(settings) as everything:
            yield everything
    else:
        yield SqliteSource(settings.data)


async def import_file(
    settings: Settings,
    file: Path,
    file_format: Format,
    *,
    dry_run: bool = False,
    on_error: OnError = "stop",
    reject: Callable[[bytes], object],
    look: Progress,
) -> Report:
    """Import a file. `look` gets how many bytes are read, of how many. Raises `PlauditError`."""
    spare_the_collector()
    catalogue = settings.catalogue()
    parser = Parser(catalogue, SystemClock().now_us())
    with LineFile(file, MAX_LINE_BYTES) as lines:
        async with intake(settings, dry_run=dry_run) as store:
            work = Import(
                store,
                parser,
                catalogue,
                file_format=file_format,
                on_error=on_error,
                dry_run=dry_run,
                reject=reject,
            )
            return await work.run(lines, lambda: look(lines.read_bytes, lines.size_bytes))


async def export_file(
    settings: Settings, file: Path, file_format: Format, *, force: bool, look: Progress
) -> Export:
    """Export everything into a file. Raises `PlauditError`."""
    async with source(settings) as everything:
        work = Export(everything, settings.catalogue(), file_format=file_format)
        with new_file(file, force=force) as write:
            await work.run(write, look)
    return work


def backup(settings: Settings, file: Path, *, with_secret: bool, look: Progress) -> Path | None:
    """Back up the data into a file; returns where the secret went, if it was asked for. Raises `PlauditError`."""
    _is_embedded(settings, "backup")
    secret = settings.secret() if with_secret else None
    SqliteCopies(settings.data, SystemClock()).backup(file, look)
    if secret is None:
        return None
    beside = file.with_name(file.name + SECRET_SUFFIX)
    with new_file(beside, force=True) as write:
        write(secret.encode() + b"\n")
    return beside


def restore(settings: Settings, file: Path, *, force: bool, look: Progress) -> tuple[Path | None, bool]:
    """Put a backup in the place of the data; returns where that was kept, and whether the secret came back too.

    A secret that is there stays: tokens are signed with it. Raises `PlauditError`.
    """
    _is_embedded(settings, "restore")
    kept = SqliteCopies(settings.data, SystemClock()).restore(file, force=force, progress=look)
    secret, beside = settings.data / SECRET_FILE, file.with_name(file.name + SECRET_SUFFIX)
    if secret.exists() or not beside.exists():
        return kept, False
    with new_file(secret, force=False) as write:
        write(beside.read_bytes())
    give(secret, settings.data)
    return kept, True


def _is_embedded(settings: Settings, command: str) -> None:
    """Raises `Unavailable` with what to do in the cluster."""
    if settings.clustered:
        raise Unavailable(
            f"{command} copies the file of the embedded profile, and these settings name a cluster. Its truth is in "
            "Cassandra: take and restore snapshots there, then run `plaudit rebuild` (docs/moving-data.md)."
        )
