"""Imports into a target that others tap and split meanwhile, on a store that loses replies and applies what is late."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, cast

import pytest

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row, Tap, Verb
from plaudit.domain.errors import Invalid, OutcomeUnknown, PlauditError, Unavailable
from plaudit.domain.lanes import lane_of
from plaudit.domain.merge import Tally
from plaudit.domain.transfer import ReactionRecord, TargetRecord
from plaudit.ports.cells import CellKey, CellState
from plaudit.ports.events import SHARDS
from plaudit.ports.transfer import Batch
from plaudit.services.alter import Alter
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.follow import Follow
from plaudit.services.intake import CellIntake
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.propose import Proposer
from plaudit.services.publish import Publish
from plaudit.services.split import Split
from tests.simulation import loop
from tests.simulation.lists import lists_of
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Committed, Faults, SimulatedCells, SimulatedStore
from tests.simulation.town import Town
from tests.simulation.world import METRICS, RULES, START_US, ProcessClock
from tests.support.totals import NoCounters

TARGET = "t"
NOTHING: Any = None  # what an import without users does not touch
VERSION = 400


class _NobodyErased:
    """Nobody was."""

    def suspects(self, names: Iterable[str]) -> list[str]:
        return []

    async def refresh(self) -> None:
        return None


class Run:
    """One history of one target."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.store = SimulatedStore()
        self.log = SimulatedLog(self.random, Away(log=self.random.choice((0.0, 0.2))))
        self.users = [f"u{n}" for n in range(16)]
        self._all: list[tuple[SimulatedCells, CellCommitter, Alter]] = []
        self.records = [
            self._record(user) for user in self.users[4:] for _ in range(self.random.randint(1, 2))
        ]
        self.tallies: list[Tally] = []
        self.registered = seed % 2 == 0
        self.before_last: list[Header] = []

    def _record(self, user: str) -> ReactionRecord:
        """Of about the time of the taps: some are older, some newer than what is there."""
        created_at = START_US - self.random.randint(1, 1_000)
        updated_at = START_US + self.random.randint(-2_000_000, 3_000_000)
        return ReactionRecord(
            TARGET, user, self.random.randint(0, 2), min(created_at, updated_at), updated_at
        )

    def _process(self) -> tuple[CellCommitter, Split, CellIntake]:
        random = self.random
        faults = Faults(
            unavailable=random.choice((0.0, 0.1)),
            lost_request=random.choice((0.0, 0.1)),
            lost_reply=random.choice((0.0, 0.3)),
            late=random.choice((0.0, 0.2)),
            hidden=0.2,
            slow=0.05,
        )
        cells, clock = SimulatedCells(self.store, random, faults), ProcessClock(random)
        publish, erased = Publish(self.log, self.log, cells, clock), _NobodyErased()
        alter = Alter(cells, publish, clock, random)
        near = NearCache(NoCounters(), RULES.catalogue, entries=100, public=True)
        proposer = Proposer(cells, Known(8), clock, RULES)
        committer = CellCommitter(proposer, near, clock, METRICS, random, publish)
        self._all.append((cells, committer, alter))
        some: Any = erased
        intake = CellIntake(cells, cells, publish, NOTHING, NOTHING, some, Follow(alter), clock, random)
        return committer, Split(alter, 3), intake

    async def play(self) -> None:
        """Everybody at once; then all is quiet, and the same is imported again."""
        taps, split, intake = [self._process() for _ in range(3)]
        async with asyncio.timeout(900):
            await asyncio.gather(
                *(self._tap(taps[0], user) for user in self.users[:10]),
                self._split(split[1]),
                self._take(intake[2]),
            )
            for cells, committer, alter in self._all:
                cells.faults = Faults()
                await committer.drain(60)
                await alter.drain(60)
            await asyncio.sleep(60)  # whatever is late has come by then
            self.log.away = Away()
            for shard in range(SHARDS):
                await Publish(self.log, self.log, self._all[0][0], ProcessClock(self.random)).sweep(shard)
            self.before_last = [states[-1].header for states in self.cells.values() if states[1:]]
            await self._take(intake[2])

    async def _tap(self, committer: CellCommitter, user: str) -> None:
        for _ in range(self.random.randint(1, 4)):
            await asyncio.sleep(self.random.uniform(0, 1.0))
            op = self.random.randbytes(8)
            try:
                await committer.submit(TARGET, Tap(user, Verb.SET, self.random.randint(0, 2), op))
            except PlauditError:
                pass

    async def _split(self, split: Split) -> None:
        await asyncio.sleep(self.random.uniform(0, 0.5))
        while True:
            try:
                await split.split(TARGET)
                return
            except (Invalid, Unavailable, OutcomeUnknown):
                await asyncio.sleep(0.1)

    async def _take(self, intake: CellIntake) -> None:
        await asyncio.sleep(self.random.uniform(0, 0.5))
        told = Registration(type="post", owner="olga") if self.registered else None
        about = TargetRecord(target=TARGET, type="post", version=VERSION, registration=told)
        while True:
            try:
                batch = Batch(targets={TARGET: [about]}, reactions={TARGET: self.records})
                self.tallies.append((await intake.store(batch, whole=False)).tally)
                return
            except (Unavailable, OutcomeUnknown):
                await asyncio.sleep(0.5)

    @property
    def cells(self) -> dict[int, list[Committed]]:
        return {key.bucket: self.store.states(key) for key in self.store.cells}


def judge(run: Run) -> None:
    """Every cell was whole at every moment, every record is there or something newer, and the log leads there too."""
    root = run.cells[0][-1]
    rows = dict(root.rows)
    for bucket, states in run.cells.items():
        for state in states[1:]:
            _is_whole(bucket, state, root)
        rows |= states[-1].rows
        newest = max((e for e in run.log.events if e.bucket == bucket), key=lambda e: e.seq, default=None)
        if states[1:]:
            assert newest is not None
            assert (newest.seq, newest.counts) == (states[-1].header.seq, states[-1].header.counts)
    last = {record.user: record for record in sorted(run.records, key=lambda record: record.updated_at)}
    for user, record in last.items():
        assert rows[user].updated_at >= record.updated_at
        if rows[user].updated_at == record.updated_at:
            assert rows[user].reaction in {
                r.reaction for r in run.records if r.updated_at == record.updated_at
            }
        assert rows[user].created_at <= record.created_at or rows[user].updated_at > record.updated_at
    assert sum(states[-1].header.seq for states in run.cells.values()) >= VERSION
    assert [states[-1].header for states in run.cells.values() if states[1:]] == run.before_last, (
        "the same again changes nothing"
    )
    if run.registered:
        assert {states[-1].registration for states in run.cells.values() if states[1:]} == {
            Registration(type="post", owner="olga")
        }
    again = run.tallies[-1]
    assert (again.created, again.changed, again.targets) == (0, 0, 0)
    _told(run, rows)


def _is_whole(bucket: int, state: Committed, root: Committed) -> None:
    header = state.header
    counted = Counter(row.reaction for row in state.rows.values() if row.reaction)
    counted.subtract(Counter(row.base for row in state.rows.values() if row.base))
    assert {code: n for code, n in enumerate(header.counts, 1) if n} == {
        c: n for c, n in counted.items() if n
    }
    assert header.rows == sum(row.base is None for row in state.rows.values())
    if bucket:
        assert len(header.recent) == len(header.recent_at)
        for user, row in state.rows.items():
            assert lane_of(user, 3) == bucket
            assert row.base == (root.rows[user].reaction if user in root.rows else None)


def _told(run: Run, rows: dict[str, Row]) -> None:
    """Whoever applies the newest transition of each place of a list ends with the rows.

    But for `import-moves-and-dies` in docs/known-gaps.md: nobody knows any more where a reaction was that became
    older by a commit of unknown outcome.
    """
    places: dict[tuple[str, int], tuple[int, int]] = {}
    for event in run.log.events:
        for t in event.transitions:
            known = places.get((t.user, t.created_at))
            if known is None or known[0] < t.at or (known[0] == t.at and not t.after):
                places[t.user, t.created_at] = t.at, t.after
    listed = {(user, created_at, after) for (user, created_at), (_, after) in places.items() if after}
    there = {(user, row.created_at, row.reaction) for user, row in rows.items() if row.reaction}
    assert there <= listed
    assert all(created_at > rows[user].created_at for user, created_at, _ in listed - there)


@pytest.mark.parametrize("seed", range(150))
def test_an_import_beside_taps_and_a_split_ends_whole(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("join", "survey"):  # so that there are many commits
        monkeypatch.setattr(f"plaudit.services.{room}.MAX_USERS_PER_COMMIT", 3)
    run = Run(seed)
    loop.run(run.play())
    judge(run)


class _Counting(SimulatedCells):
    """Counts what is asked for."""

    def __init__(self, store: SimulatedStore) -> None:
        super().__init__(store, Random(0), Faults())
        self.read_: list[str] = []
        self.asked: list[int] = []

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        self.read_.append(key.target)
        return await super().read(key, users)

    async def unwritten(self, targets: Sequence[str]) -> set[str]:
        self.asked.append(len(targets))
        return await super().unwritten(targets)


def test_targets_that_nobody_wrote_are_asked_for_together_and_not_read() -> None:
    cells, random = _Counting(SimulatedStore()), Random(0)
    clock, log = ProcessClock(random), SimulatedLog(random, Away())
    erased: Any = _NobodyErased()
    publish = Publish(log, log, cells, clock)
    follow = Follow(Alter(cells, publish, clock, random))
    intake = CellIntake(cells, cells, publish, NOTHING, NOTHING, erased, follow, clock, random)

    def batch(first: int, end: int) -> Batch:
        targets = [f"t{n}" for n in range(first, end)]
        return Batch(reactions={t: [ReactionRecord(t, "ann", 1, START_US, START_US)] for t in targets})

    async def play() -> list[int]:
        await intake.store(batch(0, 10), whole=True)
        assert cells.asked == [10]
        assert cells.read_ == []
        return [(await intake.store(batch(5, 55), whole=True)).tally.created]

    assert loop.run(play()) == [45]
    assert cells.asked == [10, 20, 20, 10]
    assert cells.read_ == [f"t{n}" for n in range(5, 10)]


@pytest.mark.parametrize("split", [False, True], ids=["one cell", "lanes"])
def test_what_comes_from_before_a_deletion_is_in_the_lists(
    split: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what is imported in several commits, behind taps of now, and once more."""
    monkeypatch.setattr("plaudit.services.join.MAX_USERS_PER_COMMIT", 3)
    town, users, long_ago = Town(Random(1)), [f"u{n}" for n in range(12)], START_US - 1_000_000

    async def play() -> list[Tally]:
        await town.tap(1, *users)
        if split:
            await town.process().split.split(TARGET)
            await town.tap(2, *users[:6])
        await town.delete()
        await town.register()
        await town.tap(1, "new")
        process, clock, erased = town.process(), ProcessClock(town.random), cast("Any", _NobodyErased())
        intake = CellIntake(
            *(process.cells, process.cells, process.publish, NOTHING, NOTHING, erased),
            *(Follow(process.alter), clock, town.random),
        )
        records = [
            ReactionRecord(TARGET, user, 2, long_ago + n, long_ago + n) for n, user in enumerate(users)
        ]
        batch = Batch(reactions={TARGET: records})
        return [(await intake.store(batch, whole=True)).tally for _ in range(2)]

    first, again = loop.run(play())
    assert (first.created, again.created, again.skipped["already_there"]) == (12, 0, 12)
    lists = lists_of(town.log.events, Random(2))
    expected = sorted((user, long_ago + n, 2) for n, user in enumerate(users))
    assert [line for line in lists.reactors(TARGET) if line[0] != "new"] == expected
    assert [line for line in lists.reacted(TARGET) if line[0] != "new"] == expected
