"""The command line. Exit codes: 0 fine, 1 doctor found a fault, 2 usage or settings, 3 the data cannot be used."""

import time
from enum import IntEnum
from typing import Annotated

import typer
import uvloop
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plaudit import __version__, bootstrap
from plaudit.doctor import examine
from plaudit.domain.errors import Conflict, Corrupt, PlauditError
from plaudit.http.auth import issue
from plaudit.settings import Settings

cli = typer.Typer(
    name="plaudit",
    help="Plaudit: likes and reactions, exact and durable.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
stderr = Console(stderr=True)


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAULT = 1
    USAGE = 2
    DATA = 3


def fail(message: str, code: Exit) -> typer.Exit:
    """Say what is wrong, in one line, and make the command end with `code`."""
    stderr.print(f"[bold red]plaudit:[/] {message}", highlight=False, soft_wrap=True)
    return typer.Exit(code)


def load_settings(**overrides: object) -> Settings:
    """The settings, or the end of the command with the name of the one that is wrong."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type] # pydantic checks them
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()]
        raise fail("; ".join(lines), Exit.USAGE) from error


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    demo: Annotated[bool | None, typer.Option("--demo", help="Serve the demo page at /demo.")] = None,
) -> None:
    """Serve the API (embedded profile: one process, one SQLite file in PLAUDIT_DATA).

    Stop it with Ctrl-C or SIGTERM: what is queued is committed and answered first. Being killed loses no acknowledged
    tap either. Settings come from plaudit.toml and PLAUDIT_* (docs/settings.md).
    """
    settings = load_settings(host=host, port=port, demo=demo)
    bootstrap.configure_logging(settings)
    try:
        uvloop.run(bootstrap.run(settings))
    except (Conflict, Corrupt) as error:
        raise fail(str(error), Exit.DATA) from error
    except (PlauditError, OSError) as error:
        raise fail(f"cannot serve on {settings.host}:{settings.port}: {error}", Exit.USAGE) from error


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
    typer.echo(
        issue(
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
    )


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
