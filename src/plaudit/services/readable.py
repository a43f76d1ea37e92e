"""Readable: targets as the ledger has them, without those that cannot be read, which are named in the log; and which
those are.

For work on many targets that one of them is not to hold up.
"""

import logging
from collections.abc import Sequence

from plaudit.domain.errors import Corrupt
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Counters

log = logging.getLogger("plaudit.readable")


async def apart(counters: Counters, ids: Sequence[str]) -> tuple[dict[str, Target], list[str]]:
    """Those of the targets that exist and can be read, and those that cannot. Raises `Unavailable` and `Overloaded`."""
    try:
        return await counters.targets(ids), []
    except Corrupt as error:
        if len(ids) == 1:
            log.error("target %s cannot be read: %s", ids[0], error)
            return {}, list(ids)
    middle = len(ids) // 2
    found, damaged = await apart(counters, ids[:middle])
    more, also = await apart(counters, ids[middle:])
    return found | more, damaged + also


async def readable(ledger: Counters, ids: Sequence[str]) -> dict[str, Target]:
    """Those of the targets that exist and can be read. Raises `Unavailable`."""
    found, _ = await apart(ledger, ids) if ids else ({}, [])
    return found
