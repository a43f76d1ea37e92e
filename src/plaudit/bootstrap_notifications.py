"""Builds what tells owners: settings in, a running notifier out. A part of `bootstrap`, which alone calls it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from plaudit.adapters.sqlite import (
    Database,
    Numbers,
    SqliteAudience,
    SqliteBatches,
    SqliteDirectory,
    SqliteInbox,
    SqliteLists,
    SqliteLog,
)
from plaudit.domain.errors import Invalid
from plaudit.domain.windows import Pace
from plaudit.ports.clock import Clock
from plaudit.services.notify import Notify
from plaudit.services.wording import Wording
from plaudit.settings import Settings
from plaudit.telemetry import Metrics


@asynccontextmanager
async def notifications(
    settings: Settings, database: Database, numbers: Numbers, clock: Clock, metrics: Metrics
) -> AsyncIterator[Wording]:
    """A running notifier. Raises `Invalid` with the name of a setting that cannot work."""
    wording = Wording(_texts(settings.notification_texts))
    lists = SqliteLists(database)
    async with AsyncExitStack() as stack:
        notify = Notify(
            SqliteLog(database),
            SqliteBatches(database, clock),
            lists,
            lists,
            SqliteDirectory(database, numbers),
            SqliteAudience(database),
            SqliteInbox(database),
            clock,
            metrics,
            pace=Pace(windows_s=tuple(settings.notification_windows_s)),
        )
        await stack.enter_async_context(notify)
        yield wording


def _texts(folder: Path | None) -> dict[str, bytes]:
    """The host app's own texts, by language."""
    if folder is None:
        return {}
    try:
        return {file.stem: file.read_bytes() for file in sorted(folder.glob("*.json"))} or _none(folder)
    except OSError as error:
        raise Invalid("invalid_setting", f"notification_texts: {error}") from error


def _none(folder: Path) -> dict[str, bytes]:
    raise Invalid(
        "invalid_setting", f"notification_texts: {folder} holds no .json file; see docs/notifications.md"
    )
