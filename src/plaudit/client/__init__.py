"""The Python client library: `Client` and, with the same calls, `AsyncClient`. docs/client.md is its manual.

Guarantees: every tap has an idempotency key and is repeated with it, so that it counts once whatever happens on the
way; a call that fails says whether anything was stored. Imports nothing else of plaudit, so that it can be copied out.
"""

from plaudit.client.aio import AsyncClient
from plaudit.client.blocking import Client
from plaudit.client.errors import PlauditError
from plaudit.client.models import (
    Catalogue,
    Counts,
    Job,
    Profile,
    Reacted,
    Reaction,
    Reactor,
    Registration,
    Summary,
    Tap,
    Target,
    TargetType,
    User,
)
from plaudit.client.talk import Retries

__all__ = [
    "AsyncClient",
    "Catalogue",
    "Client",
    "Counts",
    "Job",
    "PlauditError",
    "Profile",
    "Reacted",
    "Reaction",
    "Reactor",
    "Registration",
    "Retries",
    "Summary",
    "Tap",
    "Target",
    "TargetType",
    "User",
]
