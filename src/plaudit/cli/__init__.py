"""The command line. Exit codes: 0 fine, 1 something is at fault, 2 usage or settings, 3 the data cannot be used."""

from typing import Annotated

import typer

from plaudit import __version__, bootstrap
from plaudit.cli import moving, serving
from plaudit.cli.base import Exit, fail, going_on, load_settings, say
from plaudit.cli.cluster import Tools, add_commands
from plaudit.cli.notifications import notifications

__all__ = ["Exit", "cli", "load_settings", "main"]

cli = typer.Typer(
    name="plaudit",
    help="Plaudit: likes and reactions, exact and durable.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
cli.add_typer(serving.cli)
cli.add_typer(moving.cli)
of_the_cluster = typer.Typer()
add_commands(
    of_the_cluster,
    Tools(
        settings=load_settings,
        going_on=going_on,
        say=say,
        fault=lambda words: fail(words, Exit.FAULT),
        usage=lambda words: fail(words, Exit.USAGE),
        auditor=bootstrap.auditing,
        rebuild=bootstrap.rebuilding,
        split=bootstrap.split,
        warm=bootstrap.warming,
    ),
)
cli.add_typer(of_the_cluster)
cli.add_typer(notifications, name="notifications")


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
