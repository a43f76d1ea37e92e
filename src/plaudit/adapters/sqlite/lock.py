"""The lock of a data folder: one process writes there, and whoever comes second is told which.

Guarantees: the lock ends with its process, however that ends. Knows nothing of what lies in the folder.
"""

import fcntl
import os
from pathlib import Path

from plaudit.adapters.files import give
from plaudit.domain.errors import Conflict

LOCK_NAME = "plaudit.lock"


def lock_folder(folder: Path) -> int:
    """Take the folder for this process until the returned descriptor is closed. Raises `Conflict`."""
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        give(folder / LOCK_NAME, folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise Conflict(
            f"{folder} is being written by another Plaudit (process {holder}). "
            "Stop that one, or set PLAUDIT_DATA to another folder."
        ) from error
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
