"""Intake: takes imported records into a store that many processes serve meanwhile.

A batch is looked at first, all of it, and then stored: users, then every cell by commits of its own. Guarantees:

- what is stored was planned over the state that it is committed to, so nothing that others commit is lost;
- every commit's event is in the log before the next one of its cell, and never owed: a debt is paid as a tap of late,
  and nobody is to be told of an import. What was found as the file has it is published once more, because whoever
  stored it may have died before;
- reactions of users who are marked are left out, also of those who are marked while the import is under way.

Whatever fails is tried again for a while, from a fresh look; whoever imports the same batch again changes nothing.
Lives on the event loop. Knows no storage.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from random import Random
from typing import NamedTuple, TypeVar

from plaudit.domain.cell import MAX_USERS_PER_COMMIT
from plaudit.domain.errors import OutcomeUnknown, PlauditError, Unavailable
from plaudit.domain.merge import Tally, merge_users
from plaudit.domain.transfer import UserRecord
from plaudit.ports.cells import CellKey, Cells, CellState
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Profile
from plaudit.ports.transfer import Batch, Stored
from plaudit.ports.users import Profiles
from plaudit.services.erased import Erased
from plaudit.services.join import Part, Step, parts_of, steps
from plaudit.services.pace import Backoff
from plaudit.services.publish import Publish
from plaudit.services.removals import CellRemovals

T = TypeVar("T")

AT_ONCE = 32  # cells, or users
NAMES_AT_ONCE = 500
LOOKS = 5
WITHIN_S = 60.0
# Of two writes of a profile the later one stays, so that one of the host app is never hidden by one of a file.
BEFORE_ALL_US = 1


class _Cell(NamedTuple):
    """What is to be done to one cell: steps, or parts that have to be planned when it is their turn."""

    key: CellKey
    todo: Sequence[Step | Part]


class _Seen(NamedTuple):
    """A batch that was looked at, and what would become of it."""

    profiles: dict[str, UserRecord]
    marks: dict[str, UserRecord]
    erased: set[str]
    cells: list[_Cell]
    users: Tally
    tally: Tally


class _Look:
    """Looks at what a batch is about."""

    def __init__(self, cells: Cells, profiles: Profiles, erased: Erased) -> None:
        self._cells = cells
        self._profiles = profiles
        self._erased = erased

    async def batch(self, batch: Batch) -> _Seen:
        """Raises `Unavailable` and `Corrupt`."""
        await self._erased.refresh()
        names = {record.user: None for record in batch.users}
        for records in batch.reactions.values():
            names.update((record.user, None) for record in records)
        erased = await self.erased(names)
        users = Tally()
        profiles, marks = merge_users(batch.users, await self._shown(batch, erased), erased, users)
        seen = _Seen(profiles, marks, erased | marks.keys(), [], users, Tally())
        seen.tally.add(users)

        async def look(target: str) -> None:
            key = CellKey(target)
            parts = parts_of(batch.targets.get(target, ()), batch.reactions.get(target, ()))
            todo: Sequence[Step | Part]
            planned: list[Step]
            try:
                todo = planned = await self.plan(key, parts, seen.erased)
            except Unavailable:  # too busy to be seen as a whole: each part in its turn
                todo = parts
                planned = [step for part in parts for step in await self.plan(key, [part], seen.erased)]
            seen.cells.append(_Cell(key, todo))
            for step in planned:
                seen.tally.add(step.tally)

        await _each(dict.fromkeys([*batch.targets, *batch.reactions]), look)
        return seen

    async def erased(self, names: Iterable[str]) -> set[str]:
        """Those of them who were erased. Raises `Unavailable`."""
        suspects = self._erased.suspects(names)
        found: set[str] = set()
        for start in range(0, len(suspects), NAMES_AT_ONCE):
            found.update(await self._erased.verified(suspects[start : start + NAMES_AT_ONCE]))
        return found

    async def plan(self, key: CellKey, parts: Sequence[Part], erased: Collection[str]) -> list[Step]:
        """What takes these parts in, as the cell is now. Raises `Unavailable` and `Corrupt`."""
        users = list(dict.fromkeys(user for part in parts for user in part.users))
        for _ in range(LOOKS):
            state = await self._state(key, users)
            if state is not None:
                return steps(state, parts, set(erased))
        raise Unavailable("others kept committing to this target")

    async def _state(self, key: CellKey, users: Sequence[str]) -> CellState | None:
        """The cell with these users' rows and those of its recent reactors; None if it changed meanwhile."""
        state = await self._cells.read(key, users[:MAX_USERS_PER_COMMIT])
        if state.header is None:
            return state  # then nobody has a row
        if state.header.lanes > 1:
            raise Unavailable("this target is split over lanes, which this version cannot write")
        rows, asked = dict(state.rows), set(users)
        more = [
            *users[MAX_USERS_PER_COMMIT:],
            *(user for user, _ in state.header.recent if user not in asked),
        ]
        for start in range(0, len(more), MAX_USERS_PER_COMMIT):
            found = await self._cells.read(key, more[start : start + MAX_USERS_PER_COMMIT])
            if found.seq != state.seq:
                return None
            rows.update(found.rows)
        return CellState(state.header, state.registration, rows)

    async def _shown(
        self, batch: Batch, erased: Collection[str]
    ) -> dict[str, tuple[str | None, str | None, str | None, str | None]]:
        users = list({record.user for record in batch.users if record.erased_at is None} - set(erased))
        found = {}
        for start in range(0, len(users), NAMES_AT_ONCE):
            for user, p in (await self._profiles.get(users[start : start + NAMES_AT_ONCE])).items():
                found[user] = p.name, p.avatar_url, p.locale, p.time_zone
        return found


class CellIntake:
    """See `plaudit.ports.transfer.Intake`. `within_s`: how long a cell is tried again before the batch fails."""

    def __init__(
        self,
        cells: Cells,
        publish: Publish,
        profiles: Profiles,
        removals: CellRemovals,
        erased: Erased,
        clock: Clock,
        random: Random,
        backoff: Backoff = Backoff(cap_s=2.0),  # noqa: B008 - a tuple
        within_s: float = WITHIN_S,
    ) -> None:
        self._look = _Look(cells, profiles, erased)
        self._cells = cells
        self._publish = publish
        self._profiles = profiles
        self._removals = removals
        self._erased = erased
        self._clock = clock
        self._random = random
        self._backoff = backoff
        self._within_s = within_s

    async def store(self, batch: Batch, *, whole: bool) -> Stored:
        """Look at the batch, then store it."""
        seen = await self._look.batch(batch)
        if whole and seen.tally.refused:
            return Stored(seen.tally, stored=False)
        tally = Tally()
        tally.add(seen.users)
        try:
            await self._users(seen)
            await _each(seen.cells, lambda cell: self._store(cell, seen.erased, tally))
        except Unavailable as error:
            raise OutcomeUnknown(f"some of it may be stored, import it again: {error}") from error
        return Stored(tally, stored=not (whole and tally.refused))

    async def _users(self, seen: _Seen) -> None:
        async def put(record: UserRecord) -> None:
            profile = Profile(
                name=record.name,
                avatar_url=record.avatar_url,
                locale=record.locale,
                time_zone=record.time_zone,
            )
            await self._profiles.put(record.user, profile, BEFORE_ALL_US)

        async def mark(record: UserRecord) -> None:
            if record.erased_at is not None:
                await self._removals.mark_again(record.user, record.erased_at)

        await _each(seen.profiles.values(), put)
        await _each(seen.marks.values(), mark)
        if seen.marks:
            await self._erased.refresh()

    async def _store(self, cell: _Cell, erased: set[str], tally: Tally) -> None:
        """Take every part in, one after the other, each until it is known to be there and told."""
        todo = deque(cell.todo)
        failures, ends_s = 0, self._clock.monotonic_s() + self._within_s
        error: PlauditError
        while todo:
            item = todo.popleft()
            try:
                if isinstance(item, Part):
                    todo.extendleft(reversed(await self._look.plan(cell.key, [item], erased)))
                    continue
                if await self._committed(cell.key, item, erased):
                    await self._tell(cell.key, item)
                    tally.add(item.tally)
                    failures, ends_s = 0, self._clock.monotonic_s() + self._within_s
                    continue
                error = Unavailable("others kept committing to this target first")
            except (Unavailable, OutcomeUnknown) as failure:
                error = failure
            if self._clock.monotonic_s() > ends_s:
                raise error
            # What was planned over it does not hold any more either.
            todo = deque(each if isinstance(each, Part) else each.part for each in (item, *todo))
            failures += 1
            await asyncio.sleep(self._backoff.pause_s(failures, self._random))

    async def _committed(self, key: CellKey, step: Step, erased: set[str]) -> bool:
        """Whether the step's commit is made; False if it has to be planned anew. Raises `Unavailable` and
        `OutcomeUnknown`: so too. A proposal of unknown outcome needs no settling: whatever is planned next proves a
        state with or without it.
        """
        marked = await self._look.erased(user for user in step.part.users if user not in erased)
        if marked:
            erased |= marked
            return False
        return step.proposal is None or await self._cells.propose(key, step.proposal)

    async def _tell(self, key: CellKey, step: Step) -> None:
        """Publish what was committed, or found. Raises `Unavailable` when the log has been away for long."""
        failures, ends_s = 0, self._clock.monotonic_s() + self._within_s
        while step.header is not None:
            try:
                await self._publish.at_once(key, step.header, step.transitions, "import", step.registration)
                return
            except Unavailable:
                if self._clock.monotonic_s() > ends_s:
                    raise
            failures += 1
            await asyncio.sleep(self._backoff.pause_s(failures, self._random))


class CellPreview:
    """An `Intake` that counts and stores nothing."""

    def __init__(self, cells: Cells, profiles: Profiles, erased: Erased) -> None:
        self._look = _Look(cells, profiles, erased)

    async def store(self, batch: Batch, *, whole: bool) -> Stored:
        """What would become of the batch as things are now."""
        return Stored((await self._look.batch(batch)).tally, stored=False)


async def _each(things: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do this to each of them, some at once; return when all have ended, and raise what the first failure was."""
    rest = iter(things)
    failed: list[BaseException] = []

    async def some() -> None:
        for thing in rest:
            if failed:
                return
            try:
                await work(thing)
            except PlauditError as error:
                failed.append(error)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    if failed:
        raise failed[0]
