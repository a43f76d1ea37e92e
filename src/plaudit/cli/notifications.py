"""Commands that look after pushes that were given up."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plaudit import bootstrap
from plaudit.cli.base import Exit, fail, load_settings, say
from plaudit.domain.errors import PlauditError

notifications = typer.Typer(no_args_is_help=True, help="Look after pushes that were given up.")


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
        say(f"there may be more: --after {letters[-1].no}")


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
    say(f"{count:,} will be sent again")
    if numbers and count < len(set(numbers)):
        raise fail("the others are not among the dead letters", Exit.FAULT)
