"""The secret in a data folder: what signs tokens and cursors where no other secret is set."""

import os
import secrets
from pathlib import Path

from plaudit.adapters.files import give, trouble
from plaudit.domain.errors import Unavailable

SECRET_FILE = "secret"  # noqa: S105 - the name of a file, not a secret


def kept_secret(folder: Path) -> str:
    """The secret of the folder, made at first use, readable by its owner only. Raises `Unavailable`."""
    path = folder / SECRET_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return _new(path)
        except FileExistsError:
            return path.read_text().strip()
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {trouble(path, error)}") from error


def _new(path: Path) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w") as file:
        secret = secrets.token_urlsafe(48)
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    give(path, path.parent)
    return secret
