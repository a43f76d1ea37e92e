"""The inbox in Cassandra: one partition an owner, newest first.

A message keeps the place it got first: whoever puts it again finds it among the owner's ids. Two who put one message
for the first time within the same milliseconds could give it two places; a claim of its window keeps them apart.

Many are put together, step by step: what is known of their owners, their pushes, and themselves with whom their owners
are told of. Nobody makes a push before its message is there, and a message that is there says that its pushes are.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from plaudit.adapters.cassandra.fresh import Fresh, Known, known_push
from plaudit.adapters.cassandra.notices import at_place, pack_message, unpack_message, without
from plaudit.adapters.cassandra.pushes import Pushes, new_line
from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.statements import Statements, Write, all_of
from plaudit.adapters.cassandra.told import REMEMBER
from plaudit.domain.errors import Corrupt
from plaudit.domain.watch import Watch, pack
from plaudit.ports.notifications import Address, Notification

log = logging.getLogger("plaudit.cassandra")

KEEP = 500
PAGE = 100
MARKED_AT_ONCE = 100
# A message is put within seconds of its time; this much later nothing older comes in.
SETTLED_AFTER_US = 60_000_000
NEWEST = (2**63 - 1, "")

Erased = Callable[[Collection[str]], Awaitable[Collection[str]]]
"""Those of these users who were erased. Raises `Unavailable`."""

IDS = "SELECT owner, at, id, pushed FROM $keyspace.inbox WHERE owner IN ?"
PUT = "INSERT INTO $keyspace.inbox (owner, at, id, message) VALUES (?, ?, ?, ?)"
PUT_PUSHED = "INSERT INTO $keyspace.inbox (owner, at, id, message, pushed) VALUES (?, ?, ?, ?, true)"
OLD = "DELETE FROM $keyspace.inbox WHERE owner = ? AND (at, id) < (?, ?)"
LINES = "SELECT at, id, message, read FROM $keyspace.inbox WHERE owner = ? AND (at, id) < (?, ?) LIMIT ?"
MARKS = "SELECT at, id, read, read_to FROM $keyspace.inbox WHERE owner = ? AND (at, id) < (?, ?) LIMIT ?"
ALL_MARKS = "SELECT at, id, read FROM $keyspace.inbox WHERE owner = ?"
READ = "UPDATE $keyspace.inbox SET read = true WHERE owner = ? AND at = ? AND id = ?"
READ_TO = "UPDATE $keyspace.inbox SET read_to = ? WHERE owner = ?"
ONE = "SELECT message, read FROM $keyspace.inbox WHERE owner = ? AND at = ? AND id = ?"
DROP = "DELETE FROM $keyspace.inbox WHERE owner = ? AND at = ? AND id = ?"
FORGET = "DELETE FROM $keyspace.inbox WHERE owner = ?"
FORGET_TOLD = "DELETE FROM $keyspace.told_of WHERE owner = ?"

_NOTHING: Mapping[str, Watch] = {}


class CassandraInbox(Statements):
    """See `plaudit.ports.notifications.Inbox`; use as an async context manager inside an open session. `fresh`: the
    pushes that were put here."""

    queries = (
        IDS,
        PUT,
        PUT_PUSHED,
        OLD,
        LINES,
        MARKS,
        ALL_MARKS,
        READ,
        READ_TO,
        ONE,
        DROP,
        FORGET,
        FORGET_TOLD,
        REMEMBER,
    )

    def __init__(self, session: Session, pushes: Pushes, erased: Erased) -> None:
        super().__init__(session)
        self._pushes = pushes
        self._erased = erased
        self.fresh = Fresh()

    async def put(
        self,
        messages: Sequence[Notification],
        addresses: Sequence[Address],
        now: int,
        after: Mapping[str, Watch] = _NOTHING,
    ) -> None:
        """Whoever does it again goes on from where it was cut short."""
        owners = {message.owner for message in messages}
        owners -= {*await self._erased(owners)}
        there: dict[str, dict[str, tuple[int, bool]]] = {owner: {} for owner in owners}
        for owner, at, id_, pushed in await self._of_all(IDS, owners):
            if id_ is not None:
                there[owner][id_] = at, bool(pushed)
        to: dict[str, list[Address]] = {}
        for address in addresses:
            to.setdefault(address.message, []).append(address)
        writes, new = list[list[Write]](), list[Known]()
        for message in messages:
            if message.owner not in owners:
                continue
            at, pushed = there[message.owner].setdefault(message.id, (message.at, False))
            kept = at_place(message, at)
            its = to.get(message.id, []) if not pushed else []
            new += [known_push(new_line(kept, a.channel, a.device, now), kept) for a in its]
            put = (PUT_PUSHED if its else PUT, message.owner, at, message.id, pack_message(message))
            watch = after.get(message.target)
            # In one partition, and so at once: there is no message whose owner may be told of the same again.
            told = [(REMEMBER, message.owner, message.target, pack(watch))] if watch is not None else []
            writes.append([put, *told])
        await self._put(writes, new)
        await all_of(self._trim(owner, ids) for owner, ids in there.items() if len(ids) > KEEP)

    async def _put(self, writes: Iterable[Sequence[Write]], new: list[Known]) -> None:
        self.fresh.writing(new)
        try:
            await self._pushes.add(its.line for its in new)
            await self._write_groups(writes)
        except BaseException:
            self.fresh.failed(new)
            raise
        self.fresh.written(new)

    async def _trim(self, owner: str, ids: dict[str, tuple[int, bool]]) -> None:
        newest = sorted(((at, id_) for id_, (at, _) in ids.items()), reverse=True)[:KEEP]
        await self._write(OLD, owner, *newest[-1])

    async def page(self, owner: str, before: tuple[int, str] | None, limit: int) -> list[Notification]:
        """Those that cannot be read are left out, and others come in their place."""
        found: list[Notification] = []
        place = before or NEWEST
        while (wanted := limit - len(found)) > 0:
            lines = await self._rows(LINES, owner, *place, wanted)
            its = (_unpacked(body, owner, at, id_, read) for at, id_, body, read in lines if body is not None)
            found += [message for message in its if message is not None]
            if len(lines) < wanted or lines[-1][1] is None:
                break
            place = lines[-1][:2]
        return await self._without_erased(found)

    async def unread(self, owner: str, most: int) -> int:
        if await self._erased([owner]):
            return 0
        count, before = 0, NEWEST
        while True:
            lines = await self._rows(MARKS, owner, *before, PAGE)
            for at, id_, read, read_to in lines:
                if id_ is None or (read_to is not None and at <= read_to):
                    return count
                count += not read
                if count == most:
                    return count
            if len(lines) < PAGE:
                return count
            before = lines[-1][:2]

    async def mark_read(self, owner: str, ids: Sequence[str], up_to: str | None) -> int:
        lines = [line for line in await self._rows(ALL_MARKS, owner) if line[1] is not None]
        last = next(((at, id_) for at, id_, _ in lines if id_ == up_to), None)
        wanted = set(ids)
        places = [
            (at, id_)
            for at, id_, read in lines
            if not read and (id_ in wanted or (last is not None and (at, id_) <= last))
        ]
        for start in range(0, len(places), MARKED_AT_ONCE):
            some = places[start : start + MARKED_AT_ONCE]
            await self._commit(self._bound(READ, owner, at, id_) for at, id_ in some)
        if last is not None:
            await self._write(READ_TO, last[0] - SETTLED_AFTER_US, owner)
        return len(places)

    async def take_back(self, target: str, owners: Iterable[str], before: int | None) -> int:
        """Remove what these owners were told of a target before that time (microseconds UTC; None: all of it); returns
        how much. Goes through their inboxes. Pushes without their messages are done with. Idempotent.

        A message that cannot be read is logged and stays: nobody is shown it. Raises `Unavailable`, `OutcomeUnknown`.
        """
        found = [place for owner in owners for place in await self._told_of(target, owner, before)]
        await self._write_all((DROP, *place) for place in found)
        return len(found)

    async def _told_of(self, target: str, owner: str, before: int | None) -> list[tuple[str, int, str]]:
        found: list[tuple[str, int, str]] = []
        place = NEWEST
        while True:
            lines = await self._rows(LINES, owner, *place, PAGE)
            for at, id_, body, _ in lines:
                if body is None or (before is not None and at >= before):
                    continue
                told = _unpacked(body, owner, at, id_)
                if told is not None and told.target == target:
                    found.append((owner, at, id_))
            if len(lines) < PAGE:
                return found
            place = lines[-1][:2]

    async def read(self, places: Iterable[tuple[str, int, str]]) -> dict[str, Notification]:
        """Those of the messages at these (owner, at, id) that can be read, by id, as the ports know them. Raises
        `Unavailable`."""

        async def one(owner: str, at: int, id_: str) -> Notification | None:
            for message, read in await self._rows(ONE, owner, at, id_):
                if message is not None:
                    return _unpacked(message, owner, at, id_, read)
            return None

        found = await all_of(one(*place) for place in dict.fromkeys(places))
        return await self.to_show(m for m in found if m is not None)

    async def to_show(self, messages: Iterable[Notification]) -> dict[str, Notification]:
        """These messages by id, as the ports know them. Raises `Unavailable`."""
        return {m.id: m for m in await self._without_erased(list(messages))}

    async def forget(self, owner: str) -> None:
        """Remove everything an erased user was told. Idempotent. Raises `Unavailable` and `OutcomeUnknown`."""
        await self._write_groups([[(FORGET, owner), (FORGET_TOLD, owner)]])

    async def _without_erased(self, messages: list[Notification]) -> list[Notification]:
        """Erased owners have no messages, and erased users are in no sample."""
        users = {user for m in messages for user, _ in m.sample} | {m.owner for m in messages}
        erased = await self._erased(users) if users else ()
        return [without(m, erased) for m in messages if m.owner not in erased] if erased else messages


def _unpacked(body: bytes, owner: str, at: int, id_: str, read: bool | None = None) -> Notification | None:
    """The message, or None where it cannot be read: then it stays, and nobody is shown it."""
    try:
        return unpack_message(body, owner, at, id_, read=bool(read))
    except Corrupt as error:
        log.error("message %s to %s cannot be read, and stays: %s", id_, owner, error)
        return None
