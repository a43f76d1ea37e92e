"""Totals in Redis Cluster: one key per target, so that one MGET serves counts, feeds, closed and granted targets.

Of a split target a hash beside it, in the same slot, has the newest state of each cell. Every change of it is answered
with all of it, which is added up here and kept under the target's one key: states of the hash follow each other, so the
one with the greater sum of `seq` is the newer one. A hash that may lack a cell adds up to nothing: the target is
forgotten, and whoever reads it next asks the ledger for all cells. Where there is one, nothing is kept any more of how
the target was before it was split.

Entries have no time to live, but for those that say "nothing there". Redis decides which of two states is the newer
one, in a script, so any number of processes may write at once.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from plaudit.adapters.redis.packed import NOTHING, pack, unpack
from plaudit.adapters.redis.session import Command, Script, Session, Value
from plaudit.domain.errors import Corrupt
from plaudit.domain.events import Committed
from plaudit.domain.lanes import merge
from plaudit.ports.ledger import Target

log = logging.getLogger("plaudit.redis")

NOTHING_FOR_S = "60"


def key(target: str) -> str:
    """Where a target is kept. The braces choose the slot, so that whatever else is kept of it can be beside it."""
    return f"reactions:{{{target}}}"


def cells_key(target: str) -> str:
    """Where the cells of a split target are kept."""
    return f"cells:{{{target}}}"


class RedisTotals:
    """See `plaudit.ports.totals.Totals`; lives inside an open session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._keep_newer = Script("keep_newer")
        self._cells = Script("cells")
        session.know(self._keep_newer, self._cells)

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
        split = {id_: state for id_, state in states.items() if state.cells}
        await self._session.run(
            [self._kept(id_, state) for id_, state in states.items() if not _is_split(state)]
        )
        await self._add_up(
            {
                id_: {
                    bucket: pack(header, state.registration) for bucket, header in (state.cells or {}).items()
                }
                for id_, state in split.items()
            },
            whole=True,
        )

    async def apply(self, events: Sequence[Committed]) -> None:
        split: dict[str, dict[int, bytes]] = {}
        commands = []
        for event in events:
            packed = pack(event.header, event.registration)
            if event.lanes > 1:
                split.setdefault(event.target, {})[event.bucket] = packed
            else:
                commands.append(self._keep_unsplit(event.target, packed))
        await self._session.run(commands)
        await self._add_up(split, whole=False)

    async def forget(self, ids: Collection[str]) -> None:
        await self._session.run([["UNLINK", kept] for id_ in ids for kept in (key(id_), cells_key(id_))])

    async def _add_up(self, cells: Mapping[str, Mapping[int, bytes]], *, whole: bool) -> None:
        """Keep these cells by target and bucket, and what all of their targets' cells add up to."""
        if not cells:
            return
        answers = await self._session.run(
            [
                self._cells.on(cells_key(id_), b"1" if whole else b"0", *_flat(parts))
                for id_, parts in cells.items()
            ]
        )
        commands: list[Command] = []
        for id_, answer in zip(cells, answers, strict=True):
            total = _total(id_, answer)
            if total is None:
                commands.append(["UNLINK", key(id_)])
            else:
                commands.append(self._keep_newer.on(key(id_), total))
        await self._session.run(commands)

    def _kept(self, id_: str, state: Target) -> Command:
        if state.header is None:
            return ["SET", key(id_), NOTHING, "NX", "EX", NOTHING_FOR_S]
        return self._keep_unsplit(id_, pack(state.header, state.registration))

    def _keep_unsplit(self, id_: str, packed: bytes) -> Command:
        return self._keep_newer.on(key(id_), packed, beside=[cells_key(id_)])


def _is_split(state: Target) -> bool:
    """Whether there are cells to add up; a sum alone is not kept, because it cannot be compared."""
    return state.header is not None and state.header.lanes > 1


def _flat(parts: Mapping[int, bytes]) -> list[Value]:
    return [value for bucket, packed in parts.items() for value in (str(bucket), packed)]


def _total(target: str, answer: Any) -> bytes | None:
    """The packed total of an answer of the script, which is a map or a flat list; None where it does not tell all."""
    pairs = dict(answer) if isinstance(answer, Mapping) else dict(zip(answer[::2], answer[1::2], strict=True))
    pairs.pop(b"whole", None)
    try:
        states = {int(bucket): unpack(packed) for bucket, packed in pairs.items()}
    except Corrupt as error:
        log.warning("what is kept of the cells of target %s cannot be read: %s", target, error)
        return None
    headers = {bucket: state.header for bucket, state in states.items() if state.header is not None}
    root = headers.pop(0, None)
    if root is None or root.lanes == 1:
        return None
    return pack(merge(root, headers), states[0].registration)
