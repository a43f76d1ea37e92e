"""Own state in Redis Cluster: one hash per user, and how far the lists follow the log.

What is newer is decided in Redis, in a script, so any number of processes may write at once. Times within a hash are
the callers' clocks'; keys end by Redis's own.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from secrets import token_hex

from plaudit.adapters.redis.session import Command, Script, Session
from plaudit.domain.catalogue import MAX_CODE
from plaudit.ports.clock import Clock
from plaudit.ports.own import Change, Recalled, State

log = logging.getLogger("plaudit.redis")

HOUR_S = 3600
TAP_S = 15 * 60
# Beyond the first only the second are kept: a hash is read whole to bound it, and that should be rare and short.
MOST = 1024
KEEP = 512

_BOUNDS = (str(MOST), str(KEEP))
_MARKS = ("*until", "*since", "*pruned")
_NEVER = b"0" * 16
_TIME, _STATE = 16, 18  # digits


def key(user: str) -> str:
    """Where a user's states are."""
    return f"mine:{{{user}}}"


class RedisMine:
    """See `plaudit.ports.own.OwnStates`; lives inside an open session."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._script, self._noting = Script("mine"), Script("note")
        session.know(self._script, self._noting)

    async def recall(self, user: str, targets: Sequence[str]) -> Recalled:
        values = await self._session.hmget(key(user), [*_MARKS, *targets])
        until, since, pruned = values[:3]
        states, unreadable = _read(targets, values[3:])
        if not all(mark is None or _digits(mark, _TIME) for mark in values[:3]):
            unreadable += _MARKS[:2]  # the third one is written anew
            until = pruned = None
        if unreadable:
            pruned = await self._drop(user, pruned, unreadable)
        if until is None or since is None or int(until) <= self._clock.now_us():
            return Recalled(states, None)
        return Recalled(states, int(max(since, pruned or _NEVER)))

    async def _drop(self, user: str, pruned: bytes | None, unreadable: Sequence[str]) -> bytes:
        """Take out what cannot be read, as what is too much; returns up to when states may be missing now.

        The ledger knows better, and to raise would say of Redis, to all users, that it is away.
        """
        log.warning(
            "of what is kept of a user this cannot be read, and is dropped: %s", ", ".join(unreadable)
        )
        up_to = max(pruned or _NEVER, _time(self._clock.now_us()).encode())
        await self._session.run([self._script.on(key(user), "drop", up_to, *unreadable)])
        return up_to

    async def note(self, changes: Sequence[Change], *, create: bool) -> None:
        by_user: dict[str, list[str]] = {}
        for user, target, state in changes:
            by_user.setdefault(user, []).extend((target, _text(state)))
        least_ms = str(TAP_S * 1000) if create else "0"
        note = self._noting.on
        fields = await self._session.run(
            [note(key(user), least_ms, *pairs) for user, pairs in by_user.items()]
        )
        if many := [user for user, number in zip(by_user, fields, strict=True) if number > MOST]:
            await self._session.run([self._script.on(key(user), "bound", *_BOUNDS) for user in many])

    async def begin(self, user: str) -> str:
        now = self._clock.now_us()
        times = _time(now), _time(now - TAP_S * 1_000_000)
        run = self._script.on(key(user), "begin", token_hex(8), *times, str(HOUR_S * 1000))
        [nonce] = await self._session.run([run])
        return str(nonce, "ascii")

    async def finish(self, user: str, token: str, since: int, states: Mapping[str, State]) -> int | None:
        until = self._clock.now_us() + HOUR_S * 1_000_000
        pairs = [text for target, state in states.items() for text in (target, _text(state))]
        run = self._script.on(key(user), "finish", token, _time(until), _time(since), *_BOUNDS, *pairs)
        [answer] = await self._session.run([run])
        return None if answer is None else int(answer)

    async def forget(self, users: Collection[str]) -> None:
        commands: list[Command] = [["UNLINK", key(user)] for user in users]
        await self._session.run(commands)


class RedisIndexed:
    """See `plaudit.ports.own.Indexed`; lives inside an open session. `partitions`: how many the log has."""

    KEY = "indexed"

    def __init__(self, session: Session, partitions: int) -> None:
        self._session = session
        self._partitions = partitions

    async def reach(self, partitions: Mapping[int, int]) -> None:
        if partitions:
            pairs = [text for n, time in partitions.items() for text in (str(n), _time(time))]
            await self._session.run([["HSET", self.KEY, *pairs]])

    async def reached(self) -> int | None:
        times = await self._session.hmget(self.KEY, [str(n) for n in range(self._partitions)])
        # One that cannot be read is told anew before long.
        return min(int(time) if time is not None and _digits(time, _TIME) else 0 for time in times) or None

    async def forget(self) -> None:
        await self._session.run([["UNLINK", self.KEY]])


def _time(microseconds: int) -> str:
    return f"{microseconds:016d}"


def _text(state: State) -> str:
    return f"{state.at:016d}{state.reaction:02d}"


def _digits(value: bytes, many: int) -> bool:
    return len(value) == many and value.isdigit()


def _read(targets: Sequence[str], values: Sequence[bytes | None]) -> tuple[dict[str, State], list[str]]:
    """The states, and the targets whose state nobody can read."""
    states, unreadable = dict[str, State](), list[str]()
    for target, value in zip(targets, values, strict=True):
        if value is None:
            continue
        if _digits(value, _STATE) and int(value[_TIME:]) <= MAX_CODE:
            states[target] = State(int(value[_TIME:]), int(value[:_TIME]))
        else:
            unreadable.append(target)
    return states, unreadable
