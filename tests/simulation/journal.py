"""Journals for simulations: what a killed process had written is left for others, to the last line."""

from collections.abc import Collection, Iterator, Sequence

from plaudit.ports.cells import CellKey
from plaudit.ports.journal import Entry
from tests.simulation.log import SimulatedLog
from tests.simulation.store import SimulatedStore


class SimulatedJournal:
    """See `plaudit.ports.journal.Journal`: that of one process, and what is left of it."""

    def __init__(self, folder: "SimulatedJournals") -> None:
        self._folder = folder
        self._written: dict[int, Entry] = {}
        self._ends: set[int] = set()  # not written before the next beginning
        self._places = 0
        self.held = True
        self._killed = False
        folder.all.append(self)

    @property
    def entries(self) -> Sequence[Entry]:
        return list(self._written.values())

    @property
    def open(self) -> int:
        """As its own process sees it."""
        return len(self._written.keys() - self._ends)

    def begin(self, key: CellKey, seq: int, users: Collection[str]) -> int:
        self._places += 1
        if not self._killed:
            self._written = {
                place: entry for place, entry in self._written.items() if place not in self._ends
            }
            self._written[self._places] = Entry(key, seq, tuple(users))
        return self._places

    def end(self, place: int) -> None:
        if not self._killed:
            self._ends.add(place)

    def kill(self) -> None:
        """Its process ends here, whatever code of it still runs."""
        self._killed = True
        self.held = False

    def drop(self) -> None:
        if self in self._folder.all:
            self._folder.all.remove(self)

    def release(self) -> None:
        self.held = False


class SimulatedJournals:
    """See `plaudit.ports.journal.Journals`: one folder for all processes."""

    def __init__(self) -> None:
        self.all: list[SimulatedJournal] = []

    async def adopt(self) -> Sequence[SimulatedJournal]:
        free = [journal for journal in self.all if not journal.held]
        for journal in free:
            journal.held = True
        return free


def unpublished_at_rest(store: SimulatedStore, log: SimulatedLog) -> Iterator[str]:
    """What a consumer of the log would have wrong of any commit, whether somebody was told of it or not."""
    newest: dict[tuple[CellKey, str], tuple[int, int]] = {}
    seqs: dict[CellKey, int] = {}
    for event in log.events:
        key = CellKey(event.target, event.bucket)
        seqs[key] = max(event.seq, seqs.get(key, 0))
        for moved in event.transitions:
            newest[key, moved.user] = max((moved.at, moved.after), newest.get((key, moved.user), (0, 0)))
    for key in store.cells:
        final = store.states(key)[-1]
        if final.header.seq != seqs.get(key, 0):
            yield f"{key}: at {final.header.seq}, published up to {seqs.get(key, 0)}"
        for user, row in final.rows.items():
            if newest.get((key, user), (0, 0))[1] != row.reaction:
                yield f"{key} {user}: published as {newest.get((key, user))}, is {row}"
