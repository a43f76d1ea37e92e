"""Wishes and devices in Cassandra.

The row of a device says whose it is, the entries of a user only which to look at. Both are written in one batch and so
with one timestamp; whoever removes a registration removes it with that timestamp, and a later one stays.
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from plaudit.adapters.cassandra.inbox import Erased
from plaudit.adapters.cassandra.session import Session
from plaudit.adapters.cassandra.statements import Statements
from plaudit.domain.errors import Conflict, Corrupt
from plaudit.domain.quiet import Wishes
from plaudit.ports.notifications import Device

log = logging.getLogger("plaudit.cassandra")

DEVICES = 20
SUSPECT_FOR_S = 30 * 24 * 3600

WISHES = "SELECT owner, wishes FROM $keyspace.wish WHERE owner IN ?"
PUT_WISHES = "INSERT INTO $keyspace.wish (owner, wishes) VALUES (?, ?)"
FORGET_WISHES = "DELETE FROM $keyspace.wish WHERE owner = ?"
DEVICE = """
SELECT id, owner, kind, provider_token, more, registered_at, suspect, suspect_of, writetime(owner) FROM $keyspace.device
WHERE id IN ?
"""
PUT_DEVICE = """
INSERT INTO $keyspace.device (id, owner, kind, provider_token, more, registered_at, suspect, suspect_of)
VALUES (?, ?, ?, ?, ?, ?, 0, ?)
"""
DROP_DEVICE = "DELETE FROM $keyspace.device USING TIMESTAMP ? WHERE id = ?"
SUSPECT = "UPDATE $keyspace.device USING TTL ? SET suspect = ?, suspect_of = ? WHERE id = ?"
DEVICES_OF = "SELECT owner, id FROM $keyspace.device_of WHERE owner IN ?"
ADD_DEVICE_OF = "INSERT INTO $keyspace.device_of (owner, id) VALUES (?, ?)"
DROP_DEVICE_OF = "DELETE FROM $keyspace.device_of USING TIMESTAMP ? WHERE owner = ? AND id = ?"

_encode = msgspec.json.Encoder().encode
_wishes = msgspec.json.Decoder(Wishes)
_more = msgspec.json.Decoder(dict[str, str])


class _Registered(NamedTuple):
    """A device and when it was written, as Cassandra counts."""

    device: Device
    written_at: int


class CassandraAudience(Statements):
    """See `plaudit.ports.notifications.Audience`; use as an async context manager inside an open session."""

    queries = (
        WISHES,
        PUT_WISHES,
        FORGET_WISHES,
        DEVICE,
        PUT_DEVICE,
        DROP_DEVICE,
        SUSPECT,
        DEVICES_OF,
        ADD_DEVICE_OF,
        DROP_DEVICE_OF,
    )

    def __init__(self, session: Session, erased: Erased) -> None:
        super().__init__(session)
        self._erased = erased

    async def wishes(self, owners: Sequence[str]) -> dict[str, Wishes]:
        rows = await self._of_all(WISHES, await self._without_erased(owners))
        return {owner: _decoded(_wishes, wishes) for owner, wishes in rows}

    async def put_wishes(self, owner: str, wishes: Wishes) -> None:
        await self._refuse_erased(owner)
        await self._write(PUT_WISHES, owner, _encode(wishes).decode())

    async def devices(self, owners: Sequence[str]) -> dict[str, list[Device]]:
        rows = await self._of_all(DEVICES_OF, await self._without_erased(owners))
        devices = await self.by_id([id_ for _, id_ in rows])
        found: dict[str, list[Device]] = {}
        for owner, id_ in rows:
            device = devices.get(id_)
            if device is not None and device.owner == owner:
                found.setdefault(owner, []).append(device)
        return {owner: sorted(its, key=_age) for owner, its in found.items()}

    async def by_id(self, ids: Sequence[str]) -> dict[str, Device]:
        """The devices that are there. Raises `Unavailable`."""
        return {id_: its.device for id_, its in (await self._all_registered(ids)).items()}

    async def put_device(self, device: Device) -> None:
        await self._refuse_erased(device.owner)
        before = await self._registered(device.id)
        at = device.registered_at
        more = _encode(device.more).decode()
        await self._commit(
            [
                self._bound(PUT_DEVICE, device.id, device.owner, device.kind, device.token, more, at, at),
                self._bound(ADD_DEVICE_OF, device.owner, device.id),
            ]
        )
        if before is not None and before.device.owner != device.owner:
            await self._write(DROP_DEVICE_OF, before.written_at, before.device.owner, device.id)
        its = (await self.devices([device.owner])).get(device.owner, [])
        for old in its[: max(0, len(its) - DEVICES)]:
            await self.remove_device(old.owner, old.id)

    async def remove_device(self, owner: str, device_id: str) -> bool:
        its = await self._registered(device_id)
        if its is None or its.device.owner != owner:
            return False
        await self._drop(its)
        return True

    async def settle(
        self, device: Device, what: Literal["gone", "suspect", "fine"], gone_at: int | None
    ) -> None:
        """What became of a device that was tried. Raises `Unavailable` and `OutcomeUnknown`."""
        if what == "gone":
            its = await self._registered(device.id)
            if its is not None and (gone_at is None or its.device.registered_at <= gone_at):
                await self._drop(its)
        elif what == "suspect" or device.suspect:
            suspect = device.suspect + 1 if what == "suspect" else 0
            await self._write(SUSPECT, SUSPECT_FOR_S, suspect, device.registered_at, device.id)

    async def forget(self, owner: str) -> None:
        """Remove wishes and devices of an erased user. Idempotent. Raises `Unavailable` and `OutcomeUnknown`."""
        await self._write(FORGET_WISHES, owner)
        ids = [id_ for _, id_ in await self._of_all(DEVICES_OF, [owner])]
        for its in (await self._all_registered(ids)).values():
            if its.device.owner == owner:
                await self._drop(its)

    async def _registered(self, id_: str) -> _Registered | None:
        return (await self._all_registered([id_])).get(id_)

    async def _all_registered(self, ids: Sequence[str]) -> dict[str, _Registered]:
        found: dict[str, _Registered] = {}
        for (
            id_,
            owner,
            kind,
            token,
            more,
            registered_at,
            suspect,
            suspect_of,
            written_at,
        ) in await self._of_all(DEVICE, ids):
            if owner is None:  # a doubt came after the device had gone
                continue
            device = Device(
                id=id_,
                owner=owner,
                kind=kind,
                token=token,
                more=_what_more(id_, more),
                registered_at=registered_at,
                suspect=(suspect or 0) if suspect_of == registered_at else 0,
            )
            found[id_] = _Registered(device, written_at)
        return found

    async def _drop(self, its: _Registered) -> None:
        at, device = its.written_at, its.device
        await self._commit(
            [
                self._bound(DROP_DEVICE, at, device.id),
                self._bound(DROP_DEVICE_OF, at, device.owner, device.id),
            ]
        )

    async def _refuse_erased(self, user: str) -> None:
        if await self._erased([user]):
            raise Conflict(f"user {user} was erased; an erased id is never used again")

    async def _without_erased(self, owners: Sequence[str]) -> list[str]:
        erased = await self._erased(owners) if owners else ()
        return [owner for owner in dict.fromkeys(owners) if owner not in erased]


def _age(device: Device) -> tuple[int, str]:
    return device.registered_at, device.id


def _decoded(decoder: Any, text: str) -> Any:
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Corrupt(f"not what is stored of an owner: {error}") from error


def _what_more(device: str, text: str) -> dict[str, str]:
    """What a device needs besides its token. Where it cannot be read it is left to the sender to fail: the device can
    be removed, and pushes to others are made."""
    try:
        found: dict[str, str] = _decoded(_more, text)
    except Corrupt as error:
        log.error("device %s has nothing but its token: %s", device, error)
        return {}
    return found
