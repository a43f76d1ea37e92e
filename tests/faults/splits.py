"""One target split after the other on a running cluster, each in its own trouble: under load, checked, and told."""

import asyncio
import os
import platform
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import httpx

from plaudit.domain.lanes import merge
from plaudit.services.lanes import headers
from tests.engines.running import Engines
from tests.faults.check import NAMES, Ledger, healed, ledger
from tests.faults.cluster import flushed, say
from tests.faults.dying import HELD_S, HELD_TAPS
from tests.faults.load import REACTIONS, Crowd, Load
from tests.faults.record import Explained, Line, Record, Tap, explain, longest_gap_s
from tests.faults.running import LANES, Processes, Running, started, watched
from tests.faults.split_table import (
    AROUND_S,
    CASES,
    LONG,
    WITHIN_S,
    Case,
    Seal,
    Splitting,
    Timing,
)

DOCS = Path(__file__).parents[2] / "docs" / "split-faults.md"
QUIET = 12  # who tap once before the split and repeat it after it; and as many who do so during it

TEXT = """# Faults of a split

Written by `make faults` (`make faults ARGS="splits --seed {seed}"`). The cluster of
[the other faults](cluster-faults.md), with the same journal and the same check at the end of each line: three nodes
each of Cassandra and Kafka, six of Redis, a worker of each role. {users} users tap on {targets} targets through two API
processes, {per_s:.0f} taps a second in all, half of them on one and the same; and while they do, that one is split over
{lanes} lanes. {quiet} more users tap once before the split, and {quiet} at the moment of it; both repeat their keys
after it, in the lane then.

`killed at`: SIGKILL of an API process, from within, when its commit that seals the root, or its first one of a lane
that takes somebody over from the root, is `journalled` (and has not left), `sent`, `stored` (and it has not heard so),
or `published` (and nobody was answered); it is started again later. In all of these but the four of the seal another
process has split the target, and the one that dies has still believed in the root.

`too hot`: nobody orders the split. {hot.users} users tap on {hot.targets} targets, {hot.per_s:.0f} taps a second in
all; a commit takes {held_s:.1f} s longer than it would and has at most {held} taps. That is enough for every target but
the one with half of the taps.

Afterwards, within 60 s: every user's row, in the root or their lane, is what the journal says, and every answer fits
the one before; repeated keys have changed nothing, wherever they were applied; the headers of root and lanes add up to
the rows, and so do the totals in Redis, the lists of reactors, the index of each user, and what each API process
answers; nothing is owed to the log. Every answer to a tap that was sent when the seal could be seen says `lanes`.

`refused`: 503s, so not what nobody listened to; `on it`: those of the target that was split. `before`, `at the split`:
the longest time in which no tap on the target was acknowledged, in {around_s:.1f} s each. `healed after`: from the end
of the load until all of this agrees.

```
{table}
```

{acknowledged:,} taps acknowledged in all, {lost} lost, {doubled} counted twice. {flushed}

Seed {seed}. {cores} cores, load average {load:.0f} meanwhile, {machine}, Linux {kernel}, Python
{python}. Every test run does two of these in little:
tests/e2e/test_cluster_faults.py.
"""


class Result(NamedTuple):
    """What a split did. `problems`: everything that should not be."""

    case: Case
    acknowledged: int
    refused: int
    on_it: int  # of these, on the target that was split
    unknown: int
    lost: int
    doubled: int
    split_s: float  # after it was begun
    stored_per_s: tuple[float, float]  # on the target, in `AROUND_S` before the seal was seen and after it
    before_s: float
    pause_s: float
    healed_s: float
    problems: list[str]

    def told(self) -> str:
        """What the table does not say."""
        before, after = self.stored_per_s
        return f"split after {self.split_s:.1f} s; taps/s on it {before:.0f} before the seal, {after:.0f} after it"

    def line(self) -> str:
        """For the table."""
        healed = f"{self.healed_s:.1f} s" if not self.problems else "NO"
        return (
            f"{self.case.name:<36}{self.acknowledged:>12,}{self.refused:>8}{self.on_it:>6}{self.unknown:>8}{self.lost:>6}"
            f"{self.doubled:>8}{1000 * self.before_s:>9.0f} ms{1000 * self.pause_s:>11.0f} ms{healed:>14}"
        )


HEAD = (
    f"{'split':<36}{'acknowledged':>12}{'refused':>8}{'on it':>6}{'unknown':>8}{'lost':>6}"
    f"{'doubled':>8}{'before':>12}{'at the split':>14}{'healed after':>14}"
)


class Quiet:
    """Users who tap once, on the target that is split, and repeat it after that."""

    def __init__(self, load: Load, users: Sequence[str], target: str, seed: str) -> None:
        self._load = load
        self._chance = random.Random(seed)
        self._taps = [
            Tap(
                user,
                target,
                method,
                self._chance.choice(REACTIONS),
                str(uuid.UUID(int=self._chance.getrandbits(128))),
            )
            for user, method in zip(users, ("POST", "PUT") * len(users), strict=False)
        ]

    async def tap(self) -> None:
        """All at once, each until its outcome is known; the same keys whenever it is called."""
        await asyncio.gather(*(self._load.settled(tap, self._chance) for tap in self._taps))


async def run(running: Running, case: Case, timing: Timing, seed: str) -> Result:
    """Let a target be split under load, and look until all agree again."""
    crowd = crowd_of(running, case, seed)
    target = crowd.targets[0]
    path = running.processes.folder / f"{crowd.seed.replace(' ', '-').replace(':', '')}.jsonl"
    with Record(path) as record:
        async with Load(crowd, record) as load, Seal(running, target) as seal:
            names = crowd.quiet
            early, burst = (
                Quiet(load, some, target, f"{seed}{some[0]}") for some in (names[::2], names[1::2])
            )
            await early.tap()
            await load.progress(timing.taps, WITHIN_S)
            began_s = time.monotonic()
            await case.act(Splitting(running, load, target, timing, seal, burst.tap))
            await seal.wait()
            await early.tap()
            await burst.tap()
            await load.progress(timing.taps, WITHIN_S)
            ended_s = time.monotonic()
        lines = record.read()
        explained = explain(lines)
        healed_s, problems = await healed(running, crowd, explained)
        truth = await ledger(running, crowd, explained)
        problems += await _added_up(running, crowd, truth, seal.lanes)
    on_target = [line for line in lines if line.tap.target == target]
    before_s = longest_gap_s(on_target, began_s - AROUND_S, began_s)
    pause_s = longest_gap_s(on_target, seal.seen_s - AROUND_S / 4, seal.seen_s + AROUND_S * 3 / 4)
    gap_s = longest_gap_s(on_target, began_s, ended_s)
    if gap_s > case.pause_s:
        problems.append(f"no tap on the target was acknowledged for {gap_s:.1f} s")
    refused = [line for line in lines if line.told == "refused" and line.why != "nobody there"]
    problems += [
        *explained.lost,
        *explained.doubled,
        *explained.wrong,
        *unsaid(on_target, seal.seen_s, seal.lanes),
    ]
    return Result(
        case,
        record.told["ok"],
        len(refused),
        sum(line.tap.target == target for line in refused),
        record.told["unknown"],
        len(truth.lost) + len(explained.lost),
        _doubled(explained, problems),
        seal.seen_s - began_s,
        (_per_s(on_target, seal.seen_s - AROUND_S), _per_s(on_target, seal.seen_s)),
        before_s,
        pause_s,
        healed_s,
        problems,
    )


def _doubled(explained: Explained, problems: Iterable[str]) -> int:
    return len(explained.doubled) + sum("store='ledger'" in problem for problem in problems)


def _per_s(lines: Iterable[Line], begin_s: float) -> float:
    """How many were acknowledged a second."""
    return sum(line.told == "ok" and begin_s < line.at_s < begin_s + AROUND_S for line in lines) / AROUND_S


def crowd_of(running: Running, case: Case, seed: str) -> Crowd:
    """Users and targets that only this split has."""
    name = f"split-{CASES.index(case)}-{seed}"
    apis = running.processes.apis

    users = [f"{name}-user{n}" for n in range(case.users)]
    quiet = [f"{name}-quiet{n}" for n in range(2 * QUIET)]
    tokens = {user: apis[0].token(user) for user in (*users, *quiet)}
    targets = [f"{name}-{n}" for n in range(case.targets)]
    return Crowd([api.url for api in apis], tokens, targets, f"{case.name} {seed}", case.per_s, quiet)


def unsaid(on_target: Iterable[Line], seen_s: float, lanes: int) -> Iterator[str]:
    """Answers that say other `lanes` than they should; of taps that were sent after the seal was seen, only these."""
    sent_s: dict[tuple[Tap, int], float] = {}
    for line in on_target:
        if line.told == "sent":
            sent_s[line.tap, line.api] = line.at_s
        elif line.told == "ok":
            split = sent_s[line.tap, line.api] > seen_s
            if line.lanes not in ((lanes,) if split else (1, lanes)):
                yield f"{line.tap} was answered with {line.lanes} lanes"


async def _added_up(running: Running, crowd: Crowd, truth: Ledger, lanes: int) -> list[str]:
    """Whether the headers of root and lanes are the rows, worked out here; and whether everybody shows `lanes`, and no
    other target is split."""
    target, wrong = crowd.targets[0], list[str]()
    whole = merge(*await headers(running.held.cells, target))
    counts = {NAMES[code]: number for code, number in enumerate(whole.counts, 1) if number}
    rows = Counter(state for (_, of), state in truth.states.items() if of == target and state is not None)
    if counts != rows:
        wrong.append(f"the headers say {counts}, the rows {rows}")
    async with httpx.AsyncClient(timeout=60, params={"target_ids": ",".join(crowd.targets)}) as http:
        for url in crowd.urls:
            told = (await http.get(f"{url}/api/v1/reactions/counts")).json()["counts"]
            shown = {of: told[of]["lanes"] for of in crowd.targets}
            if shown != dict.fromkeys(crowd.targets, 1) | {target: lanes}:
                wrong.append(f"{url} says that they have {shown} lanes")
    return wrong


async def _run_all(processes: Processes, seed: str) -> tuple[list[Result], list[str]]:
    async with watched(processes, seed) as running:
        results = []
        say(HEAD)
        await run(running, CASES[0], LONG, f"{seed}-warm-up")  # does not count: everything has just started
        for case in CASES:
            results.append(await run(running, case, LONG, seed))
            say("\n    ".join([results[-1].line(), *results[-1].problems]))
            DOCS.write_text(page(results, None, seed))  # a run that is interrupted leaves what it found
        targets = [name for case in CASES for name in crowd_of(running, case, seed).targets]
        return results, await flushed(running, targets)


def main(seed: str) -> bool:
    """Three nodes of each engine, a split in every trouble; writes the page. Whether all was well."""
    say(f"seed {seed}")
    with Engines() as engines, TemporaryDirectory() as folder:
        cassandra, kafka, redis = engines.cassandra(3), engines.kafka(3), engines.redis()
        with started(cassandra, kafka, redis, Path(folder)) as processes:
            results, unflushed = asyncio.run(_run_all(processes, seed))
        engines.keep_logs = bool(unflushed) or any(result.problems for result in results)
        say("\n".join(unflushed))
        DOCS.write_text(page(results, unflushed, seed))
        return not engines.keep_logs


def page(results: Sequence[Result], unflushed: Sequence[str] | None, seed: str) -> str:
    """docs/split-faults.md. Without `unflushed` the run was interrupted."""
    table = [HEAD]
    for result in results:
        table += [result.line(), *(f"    {problem}" for problem in result.problems)]
    table += [f"{case.name:<36}     not tried in this run" for case in CASES[len(results) :]]
    if unflushed is None:
        told = "The run was interrupted\nbefore the totals of the flusher were looked at."
    else:
        told = "Afterwards the flusher was stopped,\nand the totals that it had written for every target "
        told += "\n".join(["did not equal the ledger:", *unflushed]) if unflushed else "equalled the ledger."
    return TEXT.format(
        users=CASES[0].users,
        targets=CASES[0].targets,
        per_s=CASES[0].per_s,
        lanes=LANES,
        hot=CASES[-1],
        held=HELD_TAPS,
        held_s=HELD_S,
        quiet=QUIET,
        around_s=AROUND_S,
        table="\n".join(table),
        acknowledged=sum(result.acknowledged for result in results),
        lost=sum(result.lost for result in results),
        doubled=sum(result.doubled for result in results),
        flushed=told,
        seed=seed,
        cores=os.cpu_count(),
        load=os.getloadavg()[2],
        machine=platform.machine(),
        kernel=platform.release(),
        python=platform.python_version(),
    )
