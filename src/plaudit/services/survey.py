"""Survey: looks at a batch of imported records as a whole, and plans by which commits it comes into the store.

Everything is planned over the state as it was read, and nothing is stored here. A target that is not split is one cell.
Of a split one the root comes first, with what is said of the target as a whole; then the lanes, each by commits of its
own; then the root once more, which raises the version of them all. Knows no storage.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import MAX_USERS_PER_COMMIT
from plaudit.domain.errors import PlauditError, Unavailable
from plaudit.domain.merge import Tally, merge_users
from plaudit.domain.transfer import UserRecord
from plaudit.ports.cells import CellKey, CellRoots, Cells, CellState
from plaudit.ports.transfer import Batch
from plaudit.ports.users import Profiles
from plaudit.services.erased import Erased
from plaudit.services.join import Part, Step, lanes_of, parts_of, steps
from plaudit.services.lanes import SplitCells, headers

T = TypeVar("T")

AT_ONCE = 32  # targets, or users
LANES_AT_ONCE = 8  # of one target
NAMES_AT_ONCE = 500
TARGETS_AT_ONCE = 20  # asked for in one read whether they are there
LOOKS = 5
_NOTHING = CellState(None, None, {})


class IsSplit(Exception):
    """The target is split over so many lanes, and these parts of it are not stored yet."""

    def __init__(self, lanes: int, parts: Sequence[Part] = ()) -> None:
        super().__init__()
        self.lanes = lanes
        self.parts = parts


class CellWork(NamedTuple):
    """What is to be done to one cell: steps, or parts that have to be planned when it is their turn."""

    key: CellKey
    todo: Sequence[Step | Part]


Stages = list[list[CellWork]]
"""What is to be done to one target: cells that may be done side by side, after those of the stage before."""


class Seen(NamedTuple):
    """A batch that was looked at, and what would become of it."""

    profiles: dict[str, UserRecord]
    marks: dict[str, UserRecord]
    erased: set[str]
    targets: dict[str, Stages]
    users: Tally
    tally: Tally


class Survey:
    """See the module. Lives on the event loop."""

    def __init__(self, cells: Cells, roots: CellRoots, profiles: Profiles, erased: Erased) -> None:
        self._cells = cells
        self._roots = roots
        self._shown_cells = SplitCells(cells)
        self._profiles = profiles
        self._erased = erased

    async def batch(self, batch: Batch) -> Seen:
        """Raises `Unavailable` and `Corrupt`."""
        await self._erased.refresh()
        names = {record.user: None for record in batch.users}
        for records in batch.reactions.values():
            names.update((record.user, None) for record in records)
        erased = await self.erased(names)
        users = Tally()
        profiles, marks = merge_users(batch.users, await self._shown(batch, erased), erased, users)
        seen = Seen(profiles, marks, erased | marks.keys(), {}, users, Tally())
        seen.tally.add(users)

        async def look(target: str, state: CellState | None) -> None:
            parts = parts_of(batch.targets.get(target, ()), batch.reactions.get(target, ()))
            try:
                if state is not None:
                    planned = steps(state, parts, seen.erased)
                    work = CellWork(CellKey(target), planned)
                else:
                    work, planned = await self._cell(CellKey(target), parts, seen.erased)
                seen.targets[target] = [[work]]
            except IsSplit as split:
                stages = stages_of(target, split.lanes, parts)
                seen.targets[target], planned = await self._split(stages, seen.erased)
            for step in planned:
                seen.tally.add(step.tally)

        async def ask(some: Sequence[str]) -> None:
            new.update(
                await self._roots.unwritten(some)
            )  # many in one read, so that most need none of their own

        new: set[str] = set()
        targets = list(dict.fromkeys([*batch.targets, *batch.reactions]))
        await each(
            [targets[at : at + TARGETS_AT_ONCE] for at in range(0, len(targets), TARGETS_AT_ONCE)], ask
        )
        await each(targets, lambda target: look(target, _NOTHING if target in new else None))
        return seen

    async def erased(self, names: Iterable[str]) -> set[str]:
        """Those of them who were erased. Raises `Unavailable`."""
        suspects = self._erased.suspects(names)
        found: set[str] = set()
        for start in range(0, len(suspects), NAMES_AT_ONCE):
            found.update(await self._erased.verified(suspects[start : start + NAMES_AT_ONCE]))
        return found

    async def plan(
        self,
        key: CellKey,
        parts: Sequence[Part],
        erased: Collection[str],
        registered: Registration | None = None,
    ) -> list[Step]:
        """What takes these parts in, as the cell is now; or as it is once its target is `registered` so.

        Raises `Unavailable`, `Corrupt` and `IsSplit`: they are for a target that is one cell, and it is not.
        """
        users = list(dict.fromkeys(user for part in parts for user in part.users))
        for _ in range(LOOKS):
            state = await self._state(key, users)
            if state is None:
                continue
            if not key.bucket and state.header is not None and state.header.lanes > 1:
                return await self._root(key, state, state.header.lanes, parts, erased)
            if registered is not None and state.header is not None:
                typed = msgspec.structs.replace(state.header, type=registered.type)
                state = CellState(typed, registered, state.rows)
            return steps(state, parts, set(erased))
        raise Unavailable("others kept committing to this target")

    async def _cell(
        self,
        key: CellKey,
        parts: Sequence[Part],
        erased: Collection[str],
        registered: Registration | None = None,
    ) -> tuple[CellWork, list[Step]]:
        """What is to be done to a cell, and the steps that would do it now."""
        try:
            planned = await self.plan(key, parts, erased, registered)
        except Unavailable:  # too busy to be seen as a whole: each part in its turn
            planned = [step for part in parts for step in await self.plan(key, [part], erased, registered)]
            return CellWork(key, parts), planned
        # Lanes follow a root that is registered, so what is planned over them before would not hold.
        return CellWork(key, planned if registered is None else parts), planned

    async def _split(self, stages: Stages, erased: Collection[str]) -> tuple[Stages, list[Step]]:
        """The same of a split target. Its version is planned when its turn comes: it hangs on all commits before."""
        found: Stages = []
        planned: list[Step] = []
        registered: Registration | None = None

        async def look(work: CellWork) -> None:
            parts = [item for item in work.todo if isinstance(item, Part)]
            if any(part.version for part in parts):
                found[-1].append(work)
                return
            new, would = await self._cell(work.key, parts, erased, registered)
            found[-1].append(new)
            planned.extend(would)

        for stage in stages:
            found.append([])
            await each(stage, look, LANES_AT_ONCE)
            for step in planned:
                if step.part.targets and step.proposal is not None:
                    registered = step.proposal.registration
        return found, planned

    async def _root(
        self, key: CellKey, state: CellState, lanes: int, parts: Sequence[Part], erased: Collection[str]
    ) -> list[Step]:
        """What takes parts in that are for a root: versions are those of the target less what its lanes have."""
        if not all(part.of_root for part in parts):
            raise IsSplit(lanes)
        below = 0
        if any(part.version for part in parts):
            below = sum(lane.seq for lane in (await headers(self._cells, key.target))[1].values())
        lowered = [part._replace(version=max(0, part.version - below)) for part in parts]
        made = steps(state, lowered, set(erased))
        return [step._replace(part=part) for step, part in zip(made, parts, strict=True)]

    async def _state(self, key: CellKey, users: Sequence[str]) -> CellState | None:
        """The cell with these users' rows and those of its recent reactors; None if it changed meanwhile."""
        read = self._shown_cells.read
        state = await read(key, users[:MAX_USERS_PER_COMMIT])
        if state.header is None or (not key.bucket and state.header.lanes > 1):
            return state  # then nobody has a row, or nobody's row is changed here
        rows, asked = dict(state.rows), set(users)
        recent = () if key.bucket else (user for user, _ in state.header.recent if user not in asked)
        more = [*users[MAX_USERS_PER_COMMIT:], *recent]
        for start in range(0, len(more), MAX_USERS_PER_COMMIT):
            found = await read(key, more[start : start + MAX_USERS_PER_COMMIT])
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


def stages_of(target: str, lanes: int, parts: Iterable[Part]) -> Stages:
    """What is to be done with these parts of a target that is split over so many lanes."""
    first, by_lane, last = lanes_of(parts, lanes)
    root = CellKey(target)
    return [
        [CellWork(root, [first])] if first.targets else [],
        [CellWork(CellKey(target, bucket), some) for bucket, some in sorted(by_lane.items())],
        [CellWork(root, [last])] if last.version else [],
    ]


async def each(things: Collection[T], work: Callable[[T], Awaitable[None]], at_once: int = AT_ONCE) -> None:
    """Do this to each of them, some at once; return when all have ended, and raise what the first failure was."""
    rest = iter(things)
    failed: list[BaseException] = []

    async def some() -> None:
        for thing in rest:
            if failed:
                return
            try:
                await work(thing)
            except (PlauditError, IsSplit) as error:
                failed.append(error)

    await asyncio.gather(*(some() for _ in range(min(at_once, len(things)))))
    if failed:
        raise failed[0]
