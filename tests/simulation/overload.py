"""A process under more load than its store takes: taps come when they are due, on a virtual clock, and all is noted."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import NamedTuple

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Header, Rules, Tap, Verb
from plaudit.domain.errors import Overloaded
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.ports.ledger import Target
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.pace import Limits
from plaudit.services.propose import Proposer
from plaudit.services.split import SplitHot
from plaudit.telemetry import Metrics
from tests.simulation import loop

LIMITS = Limits()
COMMIT_S = 0.01


class Clock:
    """The virtual loop's."""

    def now_us(self) -> int:
        return 1_760_000_000_000_000 + round(self.monotonic_s() * 1_000_000)

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


class HeldCells:
    """Remembers headers alone; each commit takes as long as its target's are said to, a third more or less."""

    def __init__(self, random: Random, commit_s: dict[str, float], steady: bool = False) -> None:
        self._random = random
        self._commit_s = commit_s
        self._spread = 0.0 if steady else 1 / 3
        self._headers: dict[CellKey, Header] = {}
        self.began_s: dict[str, list[float]] = {}
        self.users: dict[str, list[int]] = {}

    async def read(self, key: CellKey, users: Iterable[str]) -> CellState:
        return CellState(self._headers.get(key), None, {})

    settle = read

    async def propose(self, key: CellKey, proposal: Proposal) -> bool:
        self.began_s.setdefault(key.target, []).append(asyncio.get_running_loop().time())
        self.users.setdefault(key.target, []).append(len(proposal.rows))
        spread = self._random.uniform(-self._spread, self._spread)
        await asyncio.sleep(self._commit_s.get(key.target, COMMIT_S) * (1 + spread))
        self._headers[key] = proposal.header
        return True


class Outcome(NamedTuple):
    """What became of a tap. `early`: refused when it came, told to come back after `retry_s`, with so many in front of
    it, after so many commits."""

    target: str
    at_s: float
    took_s: float
    refusal: str | None
    early: bool = False
    retry_s: int = 0
    ahead: int = 0
    commits: int = 0


class Stream(NamedTuple):
    """Taps on some targets in turn, each by another user, at a rate, from one second to another."""

    targets: Sequence[str]
    per_s: float
    from_s: float
    to_s: float


class Overload:
    """One process, and what it was seen to do."""

    def __init__(
        self,
        seed: int,
        commit_s: dict[str, float],
        limits: Limits = LIMITS,
        *,
        steady: bool = False,
        hot: SplitHot | None = None,
        users: Callable[[int], str] = "u{}".format,
        unchanged: float = 0.0,
    ) -> None:
        """`users`: their ids. This share of the taps removes what was never given."""
        random, clock = Random(seed), Clock()
        self._users, self._unchanged, self._random = users, unchanged, Random(seed)
        self.cells = HeldCells(random, commit_s, steady)
        near = NearCache(self, Catalogue(), entries=100, public=True)
        proposer = Proposer(self.cells, Known(), clock, Rules(Catalogue()))
        self.committer = CellCommitter(proposer, near, clock, Metrics(), random, None, limits, hot=hot)
        self.outcomes: list[Outcome] = []
        self.waiting: list[tuple[float, int]] = []  # how much waited, four times a second
        self._taps = 0

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        return {}

    async def offer(self, *streams: Stream) -> None:
        """All of these at once; returns when everything is answered."""
        looking = asyncio.create_task(self._look())
        await asyncio.gather(*map(self._offer, streams))
        await self.committer.drain(60)
        looking.cancel()

    async def _look(self) -> None:
        while True:
            self.waiting.append((asyncio.get_running_loop().time(), self.committer.waiting))
            await asyncio.sleep(0.25)

    async def _offer(self, stream: Stream) -> None:
        running, taps = asyncio.get_running_loop(), 0
        under_way: set[asyncio.Task[None]] = set()
        await asyncio.sleep(stream.from_s)
        while (due_s := stream.from_s + taps / stream.per_s) < stream.to_s:
            await asyncio.sleep(max(0.0, due_s - running.time()))
            if task := self._tap(stream.targets[taps % len(stream.targets)]):
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            taps += 1
        await asyncio.gather(*under_way)

    def _tap(self, target: str) -> asyncio.Task[None] | None:
        self._taps += 1
        reaction = 0 if self._random.random() < self._unchanged else 1
        tap = Tap(self._users(self._taps), Verb.SET, reaction, self._taps.to_bytes(8, "big"))
        now_s = asyncio.get_running_loop().time()
        cell = self.committer._cells.get(CellKey(target))
        try:
            waiting = self.committer.submit(target, tap)
        except Overloaded as error:
            ahead, commits = len(cell.queue) if cell else 0, len(self.cells.began_s.get(target, ()))
            told = (error.code, True, error.retry_after_s)
            self.outcomes.append(Outcome(target, now_s, 0.0, *told, ahead, commits))
            return None

        async def wait() -> None:
            refusal = None
            try:
                await waiting
            except Overloaded as error:
                refusal = error.code
            took_s = asyncio.get_running_loop().time() - now_s
            self.outcomes.append(Outcome(target, now_s, took_s, refusal))

        return asyncio.create_task(wait())

    def of(self, *targets: str, from_s: float = 0.0, to_s: float = 1e9) -> list[Outcome]:
        """What became of the taps on these that came in this time."""
        wanted = set(targets)
        return [o for o in self.outcomes if o.target in wanted and from_s <= o.at_s < to_s]


def play(overload: Overload, *streams: Stream) -> Overload:
    """Run it to its end."""
    loop.run(overload.offer(*streams))
    return overload


def refusals(outcomes: Iterable[Outcome]) -> Counter[tuple[str | None, bool]]:
    """How many had which refusal (None: stored), and whether at once."""
    return Counter((outcome.refusal, outcome.early) for outcome in outcomes)
