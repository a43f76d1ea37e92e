"""The only place that builds: settings in, a running service out. Everything is closed again in reverse order."""

import gc
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import structlog

from plaudit.adapters.files import LineFile, new_file
from plaudit.adapters.sqlite import (
    Database,
    Numbers,
    SqliteAudience,
    SqliteAudit,
    SqliteCopies,
    SqliteDirectory,
    SqliteInbox,
    SqliteIntake,
    SqliteJobs,
    SqliteLedger,
    SqliteLists,
    SqliteLog,
    SqlitePreview,
    SqliteRemovals,
    SqliteSource,
)
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap_notifications import notifications
from plaudit.domain.catalogue import DEFAULT_TYPE
from plaudit.domain.cell import Rules
from plaudit.domain.errors import Invalid
from plaudit.domain.transfer import MAX_LINE_BYTES, Parser
from plaudit.http.app import App, Asgi, with_cors
from plaudit.http.auth import AuthConfig, Authenticator, issue
from plaudit.http.catalogue import catalogue_call
from plaudit.http.demo import Routes, demo_pages, no_demo_pages
from plaudit.http.gate import Gate
from plaudit.http.hot import CountsCall, TapCall
from plaudit.http.me import Me
from plaudit.http.pages import pages
from plaudit.http.ratelimit import RateLimiter
from plaudit.http.routes import Api, starlette_app
from plaudit.http.server import Limits, connections_possible, free_port, serve
from plaudit.http.stream import Holders, StreamCall
from plaudit.ports.clock import Clock
from plaudit.ports.ledger import Ledger
from plaudit.ports.transfer import Intake, Progress
from plaudit.services.audit import Auditor
from plaudit.services.commit import Committer
from plaudit.services.cursor import Cursors
from plaudit.services.demo import GRANT, Demo
from plaudit.services.describe import Describe
from plaudit.services.mine import Mine
from plaudit.services.near import NearCache
from plaudit.services.react import React
from plaudit.services.read import Read
from plaudit.services.remove import Remove
from plaudit.services.stream import Streams
from plaudit.services.transfer import Export, Format, Import, OnError, Report
from plaudit.services.viral import Viral
from plaudit.settings import SECRET_FILE, Settings
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit")

# The event loop and the writer share the interpreter; with Python's 5 ms one of them would wait that long for the
# other at every step (docs/decisions has the measurement).
SWITCH_INTERVAL_S = 0.0005
GC_THRESHOLDS = (50_000, 20, 50)
SECRET_SUFFIX = ".secret"  # noqa: S105 - the end of a file's name, not a secret


class Service(NamedTuple):
    """A running service: its application, and how to stop it gently."""

    app: Asgi
    drain: Callable[[], Awaitable[None]]


@asynccontextmanager
async def embedded(settings: Settings) -> AsyncIterator[Service]:
    """The embedded profile: one process, one SQLite file."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    clock = SystemClock()
    catalogue = settings.catalogue()
    metrics = Metrics()
    secret = settings.secret()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(settings.data))
        numbers = Numbers(database)
        lists = SqliteLists(database)
        directory = SqliteDirectory(database, numbers)
        near = NearCache(lists, catalogue, entries=settings.near_cache_entries, public=settings.public_counts)
        rules = Rules(catalogue, registered_only=settings.targets == "registered")
        committer = _committer(settings, SqliteLedger(database, clock, rules, numbers), near, clock, metrics)
        react = React(committer, catalogue)
        cursors = Cursors((secret or settings.kept_secret()).encode())
        read = Read(near, lists, lists, directory, catalogue, cursors)
        jobs = SqliteJobs(database)
        remove = Remove(SqliteRemovals(database, clock, numbers), jobs, near, clock)
        await stack.enter_async_context(remove)
        wording = await stack.enter_async_context(notifications(settings, database, numbers, clock, metrics))
        await stack.enter_async_context(Auditor(SqliteAudit(database), SqliteLog(database), metrics))
        authenticator = await stack.enter_async_context(_authenticator(settings, secret, clock))
        limiter = RateLimiter(
            clock.monotonic_s, per_s=settings.rate_limit_per_s, burst=settings.rate_limit_burst
        )
        gate = Gate(authenticator, limiter)
        max_streams = min(settings.max_streams, connections_possible(settings.max_connections) * 3 // 4)
        streams = await stack.enter_async_context(Streams(near, clock, metrics, max_streams=max_streams))
        holders = Holders(settings.max_streams_per_user, settings.max_streams_per_address)
        stream = StreamCall(gate, near, read, streams, clock, metrics, holders)
        describe = Describe(directory, near, catalogue)

        def ready() -> str | None:
            if react.stopping:
                return "stopping"
            return None if database.writable else "the database refuses writes"

        viral = Viral(react, SqliteIntake(database, clock, numbers), clock, catalogue.given(DEFAULT_TYPE))
        stack.push_async_callback(viral.stop)
        demo = await _demo(settings, secret, clock, Demo(describe, react, read, clock), viral)
        more = [*catalogue_call(catalogue, metrics), *pages(catalogue, metrics, ready), *demo]
        metrics.gauge("plaudit_taps_waiting", lambda: committer.waiting)
        metrics.gauge("plaudit_near_cache_entries", lambda: len(near))
        metrics.gauge("plaudit_stream_listeners", lambda: len(streams))
        metrics.gauge("plaudit_writable", lambda: float(database.writable))
        inbox, audience = SqliteInbox(database), SqliteAudience(database)
        mine = Mine(inbox, audience, directory, catalogue, cursors, wording, clock)
        api = starlette_app([Api(gate, read, remove, describe), Me(gate, mine)], more, metrics)
        app = App(TapCall(gate, react, metrics), CountsCall(gate, near, read, metrics), stream, api)

        async def drain() -> None:
            streams.stop()
            await viral.stop()
            await react.stop()

        yield Service(with_cors(app, settings.cors_origins), drain)
        await drain()


def _committer(
    settings: Settings, ledger: Ledger, near: NearCache, clock: Clock, metrics: Metrics
) -> Committer:
    return Committer(
        ledger,
        near,
        clock,
        metrics,
        max_waiting=settings.max_waiting_taps,
        max_waiting_per_target=settings.max_waiting_per_target,
        deadline_s=settings.tap_deadline_s,
    )


def _authenticator(settings: Settings, secret: str | None, clock: Clock) -> Authenticator:
    """Raises `Invalid` for settings that are each possible, and cannot work."""
    config = AuthConfig(
        secret=secret,
        jwks=settings.jwks,
        audience=settings.audience,
        issuer=settings.issuer,
        user_claim=settings.user_claim,
    )
    try:
        return Authenticator(config, clock)
    except ValueError as error:
        raise Invalid("invalid_setting", str(error)) from error


async def _demo(settings: Settings, secret: str | None, clock: Clock, demo: Demo, viral: Viral) -> Routes:
    """The demo page, made ready; where it is off, pages that say so."""
    if not settings.demo or secret is None:
        return no_demo_pages()
    if not settings.only_local:
        log.warning("the demo page is on: whoever reaches %s can act as a demo user", settings.host)

    def mint(user: str, ttl_s: int) -> str:
        return issue(
            secret,
            user=user,
            service=False,
            grants=[GRANT],
            ttl_s=ttl_s,
            now_s=clock.now_us() // 1_000_000,
            audience=settings.audience,
            issuer=settings.issuer,
            user_claim=settings.user_claim,
        )

    return demo_pages(await demo.prepare(), mint, viral)


async def run(settings: Settings) -> None:
    """Serve the embedded profile until told to stop. Raises `Invalid` where the settings ask for the other one."""
    if settings.cassandra_hosts:
        raise Invalid(
            "invalid_setting",
            "cassandra_hosts is set, and this version does not serve the cluster profile yet "
            "(docs/known-gaps.md, cluster-profile)",
        )
    async with embedded(settings) as service:
        _spare_the_collector()
        log.info("embedded profile: one process, one file", extra={"data": str(settings.data)})
        port = settings.port or free_port(settings.host)
        limits = Limits(settings.max_connections, settings.idle_connection_s, settings.stalled_connection_s)
        await serve(service.app, settings.host, port, service.drain, limits)


async def migrate(settings: Settings) -> list[str]:
    """Create or upgrade the schema in Cassandra; returns what was applied now. Raises `PlauditError`."""
    if not settings.cassandra_hosts:
        raise Invalid(
            "invalid_setting",
            "cassandra_hosts is not set: the embedded profile upgrades its file when it starts",
        )
    try:
        from plaudit.adapters import cassandra
    except ImportError as error:
        raise Invalid(
            "invalid_setting",
            f"the cluster profile needs its drivers: pip install 'plaudit[cluster]' ({error})",
        ) from error
    password = settings.cassandra_password
    config = cassandra.CassandraConfig(
        hosts=settings.cassandra_hosts,
        port=settings.cassandra_port,
        keyspace=settings.cassandra_keyspace,
        datacenter=settings.cassandra_datacenter,
        replication=settings.cassandra_replication,
        username=settings.cassandra_username,
        password=password.get_secret_value() if password else None,
        tls_ca=_pem("cassandra_tls_ca", settings.cassandra_tls_ca),
        tls_cert=_pem("cassandra_tls_cert", settings.cassandra_tls_cert),
        tls_key=_pem("cassandra_tls_key", settings.cassandra_tls_key),
    )
    async with cassandra.Session(config) as session:
        return await cassandra.migrate(session)


def _pem(name: str, file: str | None) -> str | None:
    """The text of a PEM file that a setting names. Raises `Invalid`."""
    if file is None:
        return None
    try:
        return Path(file).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise Invalid("invalid_setting", f"{name}: cannot be read: {error}") from error


@asynccontextmanager
async def intake(settings: Settings, *, dry_run: bool) -> AsyncIterator[Intake]:
    """What takes imported records in. Raises `Conflict` if a service runs on the same data and it is no dry run."""
    if dry_run:
        yield SqlitePreview(settings.data)
        return
    async with Database(settings.data) as database:
        yield SqliteIntake(database, SystemClock(), Numbers(database))


async def import_file(
    settings: Settings,
    file: Path,
    file_format: Format,
    *,
    dry_run: bool = False,
    on_error: OnError = "stop",
    reject: Callable[[bytes], object],
    look: Callable[[int, int], None],
) -> Report:
    """Import a file. `look` gets how many bytes are read, of how many. Raises `PlauditError`."""
    _spare_the_collector()
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


def export_file(
    settings: Settings, file: Path, file_format: Format, *, force: bool, look: Progress
) -> Export:
    """Export everything into a file. Raises `PlauditError`."""
    work = Export(SqliteSource(settings.data), settings.catalogue(), file_format=file_format)
    with new_file(file, force=force) as write:
        work.run(write, look)
    return work


def backup(settings: Settings, file: Path, *, with_secret: bool, look: Progress) -> Path | None:
    """Back up the data into a file; returns where the secret went, if it was asked for. Raises `PlauditError`."""
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
    kept = SqliteCopies(settings.data, SystemClock()).restore(file, force=force, progress=look)
    secret, beside = settings.data / SECRET_FILE, file.with_name(file.name + SECRET_SUFFIX)
    if secret.exists() or not beside.exists():
        return kept, False
    with new_file(secret, force=False) as write:
        write(beside.read_bytes())
    return kept, True


def _spare_the_collector() -> None:
    """What start-up made is there to stay, and taps and records leave no cycles: look at less, and less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def configure_logging(settings: Settings) -> None:
    """Send every log line through structlog: for people on a terminal, as JSON elsewhere."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    if as_json:
        shared.append(structlog.processors.format_exc_info)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
