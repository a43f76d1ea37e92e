"""The secret in a data folder: what signs tokens and cursors where no other secret is set."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from plaudit.adapters.files import give, own_file, sync_folder, trouble
from plaudit.domain.errors import Corrupt, Unavailable

SECRET_FILE = "secret"  # noqa: S105 - the name of a file, not a secret
MIN_SECRET_CHARACTERS = 32


def kept_secret(folder: Path) -> str:
    """The secret of the folder, made at first use, readable by its owner only. Raises `Unavailable`, `Corrupt`."""
    path = folder / SECRET_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            with suppress(FileExistsError):  # by now
                _make(path)
        secret = path.read_text().strip()
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {trouble(path, error)}") from error
    if len(secret) < MIN_SECRET_CHARACTERS:
        raise Corrupt(
            f"{path} holds no secret of {MIN_SECRET_CHARACTERS} characters or more. Bring it back from where you keep "
            "it, or remove it: then a new one is made, and the tokens of before are refused."
        )
    return secret


def _make(path: Path) -> None:
    """It appears under its name when it is whole and on disk. Raises `FileExistsError` if another one was faster."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with own_file(partial) as file:
            file.write(secrets.token_urlsafe(48).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        give(partial, path.parent)
        try:
            os.link(partial, path)
        except FileExistsError:
            raise
        except (
            OSError
        ):  # a file system without links: of two first starts at once only one gets the folder anyway
            partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
