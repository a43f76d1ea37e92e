"""Readable: targets as the ledger has them, without those that cannot be read, which are named in the log.

For work on many targets that one of them is not to hold up.
"""

import logging
from collections.abc import Sequence

from plaudit.domain.errors import Corrupt
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Counters

log = logging.getLogger("plaudit.readable")


async def readable(ledger: Counters, ids: Sequence[str]) -> dict[str, Target]:
    """Those of the targets that exist and can be read. Raises `Unavailable`."""
    try:
        return await ledger.targets(ids) if ids else {}
    except Corrupt as error:
        if len(ids) == 1:
            log.error("target %s cannot be read, and is passed over: %s", ids[0], error)
            return {}
    middle = len(ids) // 2
    return await readable(ledger, ids[:middle]) | await readable(ledger, ids[middle:])
