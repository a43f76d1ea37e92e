"""Commands that serve, work, sign and look. What only one of them needs, a server above all, is imported there."""

import asyncio
import time
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plaudit import bootstrap
from plaudit.cli.base import Exit, fail, load_settings, say
from plaudit.doctor import Finding, examine
from plaudit.domain.errors import Invalid, PlauditError
from plaudit.settings import Settings

cli = typer.Typer()
_STATES = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "fault": "[bold red]fault[/]"}


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
    from plaudit.bootstrap.serving import run
    from plaudit.http.server import CannotListen

    try:
        uvloop.run(run(settings, everything=everything))
    except Invalid as error:
        raise fail(error.message, Exit.USAGE) from error
    except PlauditError as error:
        raise fail(str(error), Exit.DATA) from error
    except CannotListen as error:
        raise fail(_nowhere(settings.host, settings.port, "PLAUDIT_PORT", error), Exit.USAGE) from error


def _nowhere(host: str, port: int, name: str, error: OSError) -> str:
    return f"cannot serve on {host}:{port} (PLAUDIT_HOST, {name}): {error}"


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
    from plaudit.bootstrap.serving import work
    from plaudit.http.server import CannotListen

    try:
        uvloop.run(work(settings, role))
    except Invalid as error:
        raise fail(error.message, Exit.USAGE) from error
    except PlauditError as error:
        raise fail(f"worker {role}: {error}", Exit.DATA) from error
    except CannotListen as error:
        why = _nowhere(settings.host, settings.worker_port, "PLAUDIT_WORKER_PORT", error)
        raise fail(f"worker {role}: {why}", Exit.USAGE) from error


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
    from plaudit.http.auth import issue

    if scope not in {None, "service"}:
        raise fail("--scope: the only scope is 'service'", Exit.USAGE)
    if user is None and scope is None:
        raise fail("name a --user, or --scope service", Exit.USAGE)
    settings = load_settings()
    try:
        secret = settings.secret()
    except PlauditError as error:
        raise fail(str(error), Exit.DATA) from error
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

    In the cluster profile: the three engines, their settings and clocks, and how far the workers are behind.

    Safe while a server is running on the same data. Exits with 1 if something is at fault.
    """
    settings = load_settings()
    table = Table("check", "state", "what was found", box=None, pad_edge=False)
    findings = asyncio.run(_examine_engines(settings)) if settings.clustered else examine(settings)
    for finding in findings:
        table.add_row(finding.check, _STATES[finding.state], escape(finding.detail))
    Console().print(table)
    if any(finding.state == "fault" for finding in findings):
        raise typer.Exit(Exit.FAULT)


async def _examine_engines(settings: Settings) -> list[Finding]:
    with bootstrap.drivers():
        from plaudit.doctor_engines import examine_engines
    return await examine_engines(settings)


@cli.command()
def migrate() -> None:
    """Create or upgrade the schema of the cluster profile in Cassandra, and its topics in Kafka.

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
        say(f"applied {name}")
    if not applied:
        say("the schema is up to date")
