"""Watches in Redis Cluster. A watch shares its slot with the due times of its shard, so that each change of both is one
script: there is no moment at which a window is open and nobody would come to close it.

The price is that what belongs together is spread over 64 slots and not over all; why it is worth it says
docs/decisions/0039. Claims are times of the notifiers' own clocks: one that is wrong makes work twice, and the version
decides whose counts.
"""

import asyncio
import logging
import struct
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from zlib import crc32

from plaudit.adapters.redis.session import Command, Script, Session, Value
from plaudit.domain.errors import Corrupt
from plaudit.domain.watch import UNSEEN, Watch, pack, unpack
from plaudit.ports.batches import Change, Stored
from plaudit.ports.clock import Clock

log = logging.getLogger("plaudit.redis")

SHARDS = 64
SECOND = 1_000_000
TRIES = 5  # of a claim, where others are always quicker
UNPACKED_AT_ONCE_BYTES = 100_000  # 1 ms of the event loop
# A watch of a crowd is unpacked for a few events at a time, which takes longer than the events. So of large ones those
# that were saved last are remembered as they are, up to so many bytes packed: some ten times that.
LARGE_BYTES, REMEMBERED_BYTES = 4_000, 4_000_000
_VERSION = struct.Struct(">Q")

_SAVE, _DUE, _CLAIM, _FORGET = (Script(f"batch_{name}") for name in ("save", "due", "claim", "forget"))


def shard_of(target: str) -> int:
    """Where a watch is kept."""
    return crc32(target.encode()) % SHARDS


def watch_key(target: str) -> str:
    """The key of a watch."""
    return f"notification_batch:{{w{shard_of(target)}}}:{target}"


class RedisBatches:
    """See `plaudit.ports.batches.Batches` and `Due`; lives inside an open session."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._saved = OrderedDict[str, tuple[bytes, Watch]]()  # by target; what it is packed, and the watch
        self._saved_bytes = 0
        session.know(_SAVE, _DUE, _CLAIM, _FORGET)

    async def load(self, targets: Sequence[str]) -> dict[str, Stored]:
        """Those that are stored."""
        bodies = await self._session.mget([*map(watch_key, targets)])
        return dict([line async for line in self._unpacked(zip(targets, bodies, strict=True))])

    async def save(self, changes: Sequence[Change]) -> list[str]:
        """Store those whose versions have not moved on."""
        if len({change.target for change in changes}) != len(changes):
            raise ValueError("a target is saved once per call")
        by_shard: dict[int, list[tuple[Change, bytes]]] = {}
        for change in changes:
            body = _VERSION.pack(change.version + 1) + pack(change.watch)
            by_shard.setdefault(shard_of(change.target), []).append((change, body))
            self._remember(change, body)
        answers = await self._session.run([_save(n, those) for n, those in by_shard.items()])
        return [target.decode() for lost in answers for target in lost]

    async def claim(self, until: int, lease_s: float, limit: int) -> list[tuple[str, Stored]]:
        """Watches whose windows have ended, but those that are claimed. Of many, an equal share of each shard."""
        now = self._clock.now_us()
        share = min(limit, 2 * -(-limit // SHARDS) + 8)
        for _ in range(TRIES):
            due = await self._due(until, now, share)
            mine = await self._claimed(due[:limit], until, now, now + round(lease_s * SECOND))
            if mine or not due:  # else others were quicker at all of them, and there may be more
                return mine
        return []

    async def _claimed(
        self, due: Sequence[tuple[int, str]], until: int, now: int, end: int
    ) -> list[tuple[str, Stored]]:
        """Those of these targets that are the caller's now, in their order."""
        by_shard: dict[int, list[str]] = {}
        for _, target in due:
            by_shard.setdefault(shard_of(target), []).append(target)
        claims = await self._session.run(
            [
                _run(_CLAIM, [*_due_keys(n), *map(watch_key, those)], str(until), str(now), str(end), *those)
                for n, those in by_shard.items()
            ]
        )
        bodies = {
            target.decode(): body
            for claimed in claims
            for target, body in zip(claimed[::2], claimed[1::2], strict=True)
        }
        return [line async for line in self._unpacked((target, bodies.get(target)) for _, target in due)]

    async def next_due(self) -> int | None:
        """When the window that ends first ends."""
        commands: list[Command] = [["ZRANGE", _due_keys(n)[0], "0", "0", "WITHSCORES"] for n in range(SHARDS)]
        answers = await self._session.run(commands)  # a map each, of one target or none
        return min((int(due) for answer in answers for due in answer.values()), default=None)

    async def ending_after(self, due: int, limit: int) -> list[tuple[str, Stored]]:
        """Watches whose windows end later than that."""
        keys = [_due_keys(n)[0] for n in range(SHARDS)]
        return list((await self.load(await self._between(keys, f"({due}", "+inf", limit))).items())

    async def forget(self, now: int, limit: int) -> int:
        """Remove watches without a window whose time has come."""
        found = await self._between([_forget_key(n) for n in range(SHARDS)], "-inf", str(now), limit)
        gone = await self._session.run(
            [
                _run(_FORGET, [watch_key(target), _forget_key(shard_of(target))], target, str(now))
                for target in found
            ]
        )
        return sum(gone)

    async def _between(self, keys: Sequence[str], least: str, most: str, limit: int) -> list[str]:
        """Targets with such a time in these sorted sets, one of each shard; an equal share of each."""
        share = str(min(limit, 2 * -(-limit // SHARDS) + 8))
        looks: list[Command] = [["ZRANGEBYSCORE", key, least, most, "LIMIT", "0", share] for key in keys]
        return [target.decode() for answer in await self._session.run(looks) for target in answer][:limit]

    async def _due(self, until: int, now: int, share: int) -> list[tuple[int, str]]:
        """What is due and free, the oldest first, so much of each shard."""
        looks = [_run(_DUE, _due_keys(n), str(until), str(now), str(share)) for n in range(SHARDS)]
        answers = await self._session.run(looks)
        return sorted(
            (int(float(time)), target.decode())
            for answer in answers
            for target, time in zip(answer[::2], answer[1::2], strict=True)
        )

    def _remember(self, change: Change, body: bytes) -> None:
        """Of a watch that others are quicker to save it does no harm: what is stored is another one then."""
        saved = self._saved
        if (before := saved.pop(change.target, None)) is not None:
            self._saved_bytes -= len(before[0])
        if len(body) >= LARGE_BYTES:
            saved[change.target] = body, change.watch
            self._saved_bytes += len(body)
            while self._saved_bytes > REMEMBERED_BYTES:
                _, (oldest, _) = saved.popitem(last=False)
                self._saved_bytes -= len(oldest)

    async def _unpacked(self, found: Iterable[tuple[str, bytes | None]]) -> AsyncIterator[tuple[str, Stored]]:
        """The watches of those that are there, in turns of the event loop."""
        unpacked = 0
        for target, body in found:
            if body is None:
                continue
            saved = self._saved.get(target)
            if saved is not None and saved[0] == body:
                yield target, Stored(saved[1], _VERSION.unpack_from(body)[0])
                continue
            yield target, _stored(target, body)
            unpacked += len(body)
            if unpacked >= UNPACKED_AT_ONCE_BYTES:
                unpacked = 0
                await asyncio.sleep(0)


def _save(shard: int, changes: Sequence[tuple[Change, bytes]]) -> Command:
    keys = [*_due_keys(shard), _forget_key(shard), *(watch_key(change.target) for change, _ in changes)]
    arguments: list[Value] = []
    for change, body in changes:
        arguments += [
            change.target,
            _VERSION.pack(change.version),
            body,
            "" if change.due is None else str(change.due),
            str(change.forget_at),
        ]
    return _run(_SAVE, keys, *arguments)


def _run(script: Script, keys: Sequence[str], *arguments: Value) -> Command:
    return ["EVALSHA", script.digest, str(len(keys)), *keys, *arguments]


def _due_keys(shard: int) -> list[str]:
    return [f"notification_due:{{w{shard}}}", f"notification_claims:{{w{shard}}}"]


def _forget_key(shard: int) -> str:
    return f"notification_forget:{{w{shard}}}"


def _stored(target: str, body: bytes) -> Stored:
    """The watch; one that cannot be read begins anew, or no window would ever be closed after it."""
    version = _VERSION.unpack_from(body)[0]
    try:
        return Stored(unpack(body[_VERSION.size :]), version)
    except Corrupt as error:
        log.error("the watch of %s begins anew: %s", target, error)
        return Stored(UNSEEN, version)
