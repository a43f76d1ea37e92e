"""One fault after the other on a running cluster: under load, checked, and told in a line of a table."""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.engines.running import Engines
from tests.faults.check import audit, disagreements, healed, ledger, owed
from tests.faults.in_hand import undone
from tests.faults.load import TARGETS, USERS, Crowd, Load
from tests.faults.page import HEAD, Result, page
from tests.faults.record import Explained, Record, explain, silence, unanswered
from tests.faults.running import Processes, Running, started, watched
from tests.faults.table import FAULTS, Fault
from tests.faults.under import LONG, Timing, Under

DOCS = Path(__file__).parents[2] / "docs" / "cluster-faults.md"
AUDITS = 10
AUDIT_AGAIN_S = 2.0  # events are held back for a second


async def run(running: Running, fault: Fault, timing: Timing, seed: str) -> Result:
    """Let a fault happen under load, and look until all agree again."""
    crowd = crowd_of(running, fault, seed)
    notes, wrong = list[str](), list[str]()
    path = running.processes.folder / f"{crowd.seed.replace(' ', '-')}.jsonl"
    with Record(path) as record:
        async with fault.around(running, seed):
            async with Load(crowd, record) as load:
                await load.progress(timing.taps)
                began_s = time.monotonic()
                await fault.act(Under(running, load, timing, seed, notes, wrong))
                await load.progress(timing.taps)
                ended_s = time.monotonic()
            lines = record.read()
            explained = explain(lines)
            missing = [] if not fault.audited else await _mended(running, crowd, explained)
            healed_s, problems = await healed(running, crowd, explained, repair=fault.audited)
            truth = await ledger(running, crowd, explained)
    gap = silence(lines, began_s, ended_s, load.away)
    if gap.s > timing.gap_s:
        problems.append(f"no tap was acknowledged for {gap.s:.1f} s by or on {gap.whose}")
    told = record.told
    if fault.certain:
        problems += unanswered(lines, at_most=timing.changes // 2)
    if timing.patient:
        problems += await undone(running)
    problems += [*wrong, *missing, *explained.lost, *explained.doubled, *explained.wrong]
    lost = len(truth.lost) + len(explained.lost)
    doubled = len(explained.doubled) + sum("store='ledger'" in problem for problem in problems)
    return Result(
        fault, told["ok"], told["refused"], told["unknown"], lost, doubled, gap.s, healed_s, problems, notes
    )


def crowd_of(running: Running, fault: Fault, seed: str) -> Crowd:
    """Users and targets that only this fault has."""
    name = "".join(word[0] for word in fault.name.split()) + seed
    api = running.processes.apis[0]
    users = [f"{name}-user{n}" for n in range(USERS)]
    targets = [f"{name}-{n}" for n in range(TARGETS)]
    urls = [api.url for api in running.processes.apis]
    return Crowd(urls, {user: api.token(user) for user in users}, targets, f"{fault.name} {seed}")


async def _mended(running: Running, crowd: Crowd, explained: Explained) -> list[str]:
    """Have audits repair what lost events left behind; there has to be something. Again and again, as the worker does:
    an event that was late for the first one can still bring what a lost one would have taken away."""
    before = await disagreements(running, crowd, explained)
    for _ in range(AUDITS):
        if not await audit(running, crowd.targets, repair=True):
            break
        await asyncio.sleep(AUDIT_AGAIN_S)
    return [] if before else ["nothing was missing before the audit: this proves nothing"]


async def flushed(running: Running, targets: Sequence[str]) -> list[str]:
    """At the end of everything: what killed workers had in hand is done, and nothing is owed to the log. The flusher
    stops, so what it holds is written, and has to be right."""
    await running.settled()
    left = [*await undone(running), *await owed(running)]
    await asyncio.to_thread(running.processes.workers["flush"].stop)
    return left + [str(drift) for drift in await audit(running, targets, flushed=True)]


async def run_all(running: Running, faults: Sequence[Fault], timing: Timing, seed: str) -> list[Result]:
    """All of them, telling each as it is over."""
    results = []
    say(HEAD)
    for fault in faults:
        results.append(await run(running, fault, timing, seed))
        say("\n".join(results[-1].lines()))
    return results


def main(seed: str) -> bool:
    """Three nodes of each engine, every fault at its full length; writes the page. Whether all was well."""
    say(f"seed {seed}")
    with Engines() as engines, TemporaryDirectory() as folder:
        cassandra, kafka, redis = engines.cassandra(3), engines.kafka(3), engines.redis()

        async def all_of_it(processes: Processes) -> tuple[list[Result], list[str]]:
            async with watched(processes, seed) as running:
                results = await run_all(running, FAULTS, LONG, seed)
                targets = [name for fault in FAULTS for name in crowd_of(running, fault, seed).targets]
                return results, await flushed(running, targets)

        with started(cassandra, kafka, redis, Path(folder)) as processes:
            results, unflushed = asyncio.run(all_of_it(processes))
        engines.keep_logs = bool(unflushed) or any(result.problems for result in results)
        say("\n".join(unflushed))
        DOCS.write_text(page(results, unflushed, seed))
        return not engines.keep_logs


def say(line: str) -> None:
    """To whoever waits."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
