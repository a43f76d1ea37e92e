"""What all commands share: how they end, what they say, and where their settings come from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.markup import escape

from plaudit.domain.errors import Invalid, PlauditError
from plaudit.environment import links
from plaudit.settings import Settings
from plaudit.terminal import progress_bar

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
    if linked := links():
        say(f"not settings, but of a Kubernetes Service: {', '.join(sorted(linked))} (docs/cluster.md)")
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type] # pydantic checks them
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()]
        raise fail("; ".join(lines), Exit.USAGE) from error
    except SettingsError as error:
        raise fail(str(error.__cause__ or error), Exit.USAGE) from error
    except PermissionError as error:
        where = f"{Path.cwd() / 'plaudit.toml'} cannot be read by this user"
        what = "start the command in the folder of the settings (cd /etc/plaudit), or where there are none (cd /)"
        raise fail(f"{where}: {what}", Exit.USAGE) from error
    except (OSError, ValueError) as error:  # after pydantic's, which are ValueErrors too
        raise fail(f"plaudit.toml: {error}", Exit.USAGE) from error


def say(text: str) -> None:
    """Say something to whoever runs the command, and leave what is piped on alone."""
    stderr.print(text, markup=False, highlight=False, soft_wrap=True)


def place(settings: Settings) -> str:
    """Where the data is, and that nobody chose that place, if nobody did."""
    return f"{settings.data}{'' if 'data' in settings.model_fields_set else ' (PLAUDIT_DATA is not set)'}"


@contextmanager
def going_on(what: str, *, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
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
