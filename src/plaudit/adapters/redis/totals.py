"""Totals in Redis Cluster: one key per target, so that one MGET serves counts, feeds, closed and granted targets.

Entries have no time to live, but for those that say "nothing there". Redis decides which of two states is the newer
one, in a script, so any number of processes may write at once.
"""

import logging
from collections.abc import Collection, Mapping, Sequence

from plaudit.adapters.redis.packed import NOTHING, pack, unpack
from plaudit.adapters.redis.session import Command, Script, Session
from plaudit.domain.errors import Corrupt
from plaudit.domain.events import Committed
from plaudit.ports.ledger import Target

log = logging.getLogger("plaudit.redis")

NOTHING_FOR_S = "60"


def key(target: str) -> str:
    """Where a target is kept. The braces choose the slot, so that whatever else is kept of it can be beside it."""
    return f"reactions:{{{target}}}"


class RedisTotals:
    """See `plaudit.ports.totals.Totals`; lives inside an open session. Of targets that are not split: bucket 0."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._keep_newer = Script("keep_newer")
        session.know(self._keep_newer)

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        values = await self._session.mget([key(id_) for id_ in ids])
        found = {}
        for id_, value in zip(ids, values, strict=True):
            if value is not None:
                try:
                    found[id_] = unpack(value)
                except Corrupt as error:
                    # The ledger knows better; the next commit writes what can be read.
                    log.warning("what is kept of target %s cannot be read: %s", id_, error)
        return found

    async def put(self, states: Mapping[str, Target]) -> None:
        await self._session.run([self._kept(id_, state) for id_, state in states.items()])

    async def apply(self, events: Sequence[Committed]) -> None:
        await self._session.run(
            [
                self._keep_newer.on(key(event.target), pack(event.header, event.registration))
                for event in events
                if event.bucket == 0
            ]
        )

    async def forget(self, ids: Collection[str]) -> None:
        await self._session.run([["UNLINK", key(id_)] for id_ in ids])

    def _kept(self, id_: str, state: Target) -> Command:
        if state.header is None:
            return ["SET", key(id_), NOTHING, "NX", "EX", NOTHING_FOR_S]
        return self._keep_newer.on(key(id_), pack(state.header, state.registration))
