"""What those need who name a part of the cluster before its drivers are imported, which may be missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from plaudit.domain.errors import Invalid
from plaudit.settings import Settings

Role = Literal["counters", "index", "notify", "flush", "audit", "repair"]
ROLES: tuple[Role, ...] = get_args(Role)


@contextmanager
def drivers() -> Iterator[None]:
    """Importing what builds the cluster: its drivers are an extra. Raises `Invalid`."""
    try:
        yield
    except ImportError as error:
        raise Invalid(
            "invalid_setting",
            f"the cluster profile needs its drivers: pip install 'plaudit[cluster]' ({error})",
        ) from error


def needs_cluster(settings: Settings, embedded_words: str) -> None:
    """Raises `Invalid` in the embedded profile, with what it does instead."""
    if not settings.clustered:
        raise Invalid("invalid_setting", f"cassandra_hosts is not set: {embedded_words}")
