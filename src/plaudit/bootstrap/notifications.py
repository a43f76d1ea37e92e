"""Builds what tells owners: settings in, a running notifier and its senders out. A part of `bootstrap`.

A sender is there if its settings are. What is set and cannot work stops the process with the name of the setting.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from plaudit.adapters.push import (
    Apns,
    ApnsAccount,
    Console,
    Fcm,
    PushClient,
    Webhook,
    WebPush,
    service_account,
    vapid_key,
    webhook_key,
)
from plaudit.adapters.sqlite import (
    Database,
    Numbers,
    SqliteAudience,
    SqliteBatches,
    SqliteDeadLetters,
    SqliteDeliveries,
    SqliteDirectory,
    SqliteInbox,
    SqliteLists,
    SqliteLog,
)
from plaudit.adapters.system import SystemClock
from plaudit.domain.errors import Invalid
from plaudit.domain.windows import Pace
from plaudit.ports.clock import Clock
from plaudit.ports.notifications import Parcel
from plaudit.ports.push import Sender
from plaudit.services.behind import Late
from plaudit.services.deliver import Deliver
from plaudit.services.notify import Notify
from plaudit.services.tell import Sources, Tell
from plaudit.services.wording import Wording
from plaudit.settings import Settings
from plaudit.telemetry import Metrics

T = TypeVar("T")
Made = TypeVar("Made")


@asynccontextmanager
async def notifications(
    settings: Settings, database: Database, numbers: Numbers, clock: Clock, metrics: Metrics
) -> AsyncIterator[Wording]:
    """A running notifier. Raises `Invalid` with the name of a setting that cannot work."""
    wording = make_wording(settings)
    lists, directory = SqliteLists(database), SqliteDirectory(database, numbers)
    made = asyncio.Event()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            PushClient(authorities(settings.push_ca), clock, private=settings.push_private_addresses)
        )
        senders = make_senders(settings, client, clock)
        catalogue = settings.catalogue()
        deliveries = SqliteDeliveries(database, clock)
        deliver = Deliver(deliveries, directory, senders, wording, catalogue, clock, metrics, made)
        await stack.enter_async_context(deliver)
        batches = SqliteBatches(database, clock)
        tell = Tell(
            batches,
            Sources(lists, lists, directory, SqliteAudience(database)),
            SqliteInbox(database),
            clock,
            metrics,
            pace=Pace(windows_s=tuple(settings.notification_windows_s)),
            channels=[sender.channel for sender in senders],
            made=made,
        )
        await stack.enter_async_context(Late(batches, clock, metrics))
        await stack.enter_async_context(Notify(SqliteLog(database), tell, clock, metrics))
        yield wording


def make_wording(settings: Settings) -> Wording:
    """Our texts, and the host app's own. Raises `Invalid`."""
    return Wording(_texts(settings.notification_texts))


def dead_letters(settings: Settings, after: int, limit: int) -> list[Parcel]:
    """Pushes that were given up, the oldest first. Raises `PlauditError`."""
    return SqliteDeadLetters(settings.data).dead(after, limit)


def resend(settings: Settings, numbers: Sequence[int] | None) -> int:
    """Have dead letters sent again (None: all), also while a server is running; how many. Raises `PlauditError`."""
    return SqliteDeadLetters(settings.data).resend(numbers, SystemClock().now_us())


def make_senders(settings: Settings, client: PushClient, clock: Clock) -> list[Sender]:
    """Those whose settings are there. Raises `Invalid` with the name of one that cannot work."""
    found: list[Sender] = [Console()] if settings.push_console else []
    if settings.webhook_url is not None:
        secrets = [secret.get_secret_value() for secret in settings.webhook_secrets]
        keys = [_checked("webhook_secrets", webhook_key, secret) for secret in secrets]
        found.append(Webhook(client, clock, settings.webhook_url, keys))
    if settings.fcm_credentials is not None:
        account = _checked(
            "fcm_credentials", service_account, _read("fcm_credentials", settings.fcm_credentials)
        )
        found.append(Fcm(client, clock, account, settings.fcm_url))
    if settings.apns_key is not None:
        account_ = ApnsAccount(
            key=_read("apns_key", settings.apns_key).decode("latin-1"),
            key_id=settings.apns_key_id or "",
            team_id=settings.apns_team_id or "",
            topic=settings.apns_topic or "",
        )
        urls = {"production": settings.apns_url, "sandbox": settings.apns_sandbox_url}
        found.append(_checked("apns_key", lambda account: Apns(client, clock, account, urls), account_))
    if settings.vapid_key is not None:
        key = _checked("vapid_key", vapid_key, _read("vapid_key", settings.vapid_key))
        found.append(WebPush(client, clock, key, settings.vapid_subject or ""))
    return found


def authorities(file: Path | None) -> bytes | None:
    """What to trust besides the system's authorities."""
    if file is None:
        return None
    found = _read("push_ca", file)
    try:
        ssl.create_default_context(cadata=found.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise Invalid("invalid_setting", f"push_ca: {file}: {error}") from error
    return found


def _checked(name: str, make: Callable[[T], Made], value: T) -> Made:
    try:
        return make(value)
    except ValueError as error:
        raise Invalid("invalid_setting", f"{name}: {error}") from error


def _read(name: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Invalid("invalid_setting", f"{name}: {error}") from error


def _texts(folder: Path | None) -> dict[str, bytes]:
    """The host app's own texts, by language."""
    if folder is None:
        return {}
    try:
        found = {file.stem: file.read_bytes() for file in sorted(folder.glob("*.json"))}
    except OSError as error:
        raise Invalid("invalid_setting", f"notification_texts: {error}") from error
    if not found:
        raise Invalid("invalid_setting", f"notification_texts: {folder} holds no .json file")
    return found
