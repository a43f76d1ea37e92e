"""A process killed between commit and event, and a log that is away: what is stored is published in the end."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from plaudit.adapters.cassandra import CassandraCells, CassandraDebts, CassandraLeases, Session
from plaudit.adapters.journal import FOLDER, FileJournals, entries_of
from plaudit.adapters.kafka import KafkaConfig, KafkaEvents
from plaudit.adapters.system import SystemClock
from plaudit.domain.events import decode
from plaudit.ports.cells import CellKey
from plaudit.services.publish import Publish
from plaudit.services.recover import Recover
from plaudit.services.sweep import Sweep
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.node import Node, wait_for
from tests.integration.journal.process import process, tap_for_ever, targets_of, users_of
from tests.integration.kafka.test_events import end, written
from tests.support.cassandra import emptied, open_session
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).resolve().parents[3]
_topics = count(1)


@pytest.fixture
def topic(kafka: Kafka) -> str:
    name = f"journal-{next(_topics)}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(name, 4, 1)])[name].result(30)
    wait_for(lambda: all(end(kafka, name, partition) == 0 for partition in range(4)), "its leaders", 30)
    return name


@pytest.fixture
async def session(cassandra: Cassandra, anyio_backend: str) -> AsyncIterator[Session]:
    async with open_session(cassandra) as opened:
        yield opened


@contextmanager
def tapping(
    cassandra: Cassandra, kafka: Kafka, topic: str, data: Path, prefix: str
) -> Iterator["subprocess.Popen[str]"]:
    """A process that is tapping; killed at the latest when the block ends."""
    places = [cassandra.hosts[0], str(cassandra.port), kafka.bootstrap, topic, str(data), prefix]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.journal.process", *places],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            yield running
        finally:
            running.kill()
            running.wait()


async def unpublished(cells: CassandraCells, kafka: Kafka, topic: str, users: list[str]) -> list[str]:
    """What a consumer of the topic would have wrong of the cells as they are."""
    newest: dict[tuple[str, str], tuple[int, int]] = {}
    seqs: dict[str, int] = {}
    for _, _, body in written(kafka, topic):
        event = decode(body)
        seqs[event.target] = max(event.seq, seqs.get(event.target, 0))
        for moved in event.transitions:
            place = event.target, moved.user
            newest[place] = max((moved.at, moved.after), newest.get(place, (0, 0)))
    wrong = []
    for target in targets_of(topic):
        state = await cells.settle(CellKey(target), users)
        if seqs.get(target, 0) != state.seq:
            wrong.append(f"{target}: at {state.seq}, published up to {seqs.get(target, 0)}")
        for user, row in state.rows.items():
            if newest.get((target, user), (0, 0))[1] != row.reaction:
                wrong.append(f"{target} {user}: {row.reaction}, published {newest.get((target, user))}")
    return wrong


def under_way(data: Path) -> int:
    """How many proposals the journals in the folder have open."""
    try:
        return sum(len(list(entries_of(path))) for path in (data / FOLDER).iterdir())
    except FileNotFoundError:
        return 0


def read(running: "subprocess.Popen[str]", lines: int) -> None:
    assert running.stdout is not None
    for _ in range(lines):
        assert running.stdout.readline()


@pytest.mark.parametrize("moment", ["under load", "log frozen", "store frozen"])
async def test_what_a_killed_process_committed_is_published_by_who_adopts_its_journal(
    cassandra: Cassandra, kafka: Kafka, session: Session, topic: str, tmp_path: Path, moment: str
) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    random, clock = Random(seed), SystemClock()
    frozen: dict[str, Node] = {"log frozen": kafka.nodes[0], "store frozen": cassandra.nodes[0]}
    node, users = frozen.get(moment), []
    async with (
        CassandraCells(session) as cells,
        CassandraDebts(session, clock) as debts,
        KafkaEvents(KafkaConfig([kafka.bootstrap], topic)) as events,
    ):
        publish = Publish(events, debts, cells, clock)
        recover = Recover(FileJournals(tmp_path), cells, publish, Metrics(), random)
        for run in range(3 if node is None else 1):
            users += users_of(f"run{run}")
            with tapping(cassandra, kafka, topic, tmp_path, f"run{run}") as running:
                read(running, random.randint(50, 400))
                assert await recover.look() == 0, "its process lives"
                try:
                    if node is not None:
                        node.freeze()
                        await until(lambda: under_way(tmp_path) >= 2, "proposals under way")
                    running.kill()
                    running.wait()
                    assert under_way(tmp_path) > 0
                    recovering = asyncio.create_task(recover.look())
                    await until(lambda task=recovering: task.done() or recover.open > 0, "adopted")  # type: ignore[misc] # bound now
                finally:
                    if node is not None:
                        node.thaw()
            assert await asyncio.wait_for(recovering, 60) > 0
            assert list((tmp_path / FOLDER).iterdir()) == [], "settled, published and forgotten"
            await pay(session, publish, debts)
            assert await unpublished(cells, kafka, topic, users) == [], f"seed {seed}, run {run}"


async def pay(session: Session, publish: Publish, debts: CassandraDebts) -> int:
    """Sweep until nothing is owed; returns how much was."""
    paid = 0
    async with CassandraLeases(session, os.urandom(8).hex()) as leases, asyncio.timeout(60):
        sweep = Sweep(publish, debts, leases, Metrics(), Random(0))
        while (now := await sweep.look()) or sweep.open:
            paid += now
            await asyncio.sleep(0.05)
    return paid


async def test_taps_go_on_while_the_log_is_away_and_their_events_are_paid_afterwards(
    kafka: Kafka, session: Session, topic: str, tmp_path: Path
) -> None:
    await emptied(session, ("pending_events", "pending_slices"))
    acknowledged: list[str] = []
    async with process(session, kafka.bootstrap, topic, tmp_path) as running:
        users = users_of("ann")
        taps = [
            asyncio.create_task(tap_for_ever(running.committer, targets_of(topic), user, acknowledged.append))
            for user in users
        ]
        await until(lambda: len(acknowledged) > 100, "taps")
        kafka.nodes[0].freeze()
        try:
            at = len(acknowledged)
            await until(lambda: len(acknowledged) > at + 300, "taps, acknowledged while the log is away")
        finally:
            kafka.nodes[0].thaw()
        for tap in taps:
            tap.cancel()
        await asyncio.gather(*taps, return_exceptions=True)
        await running.committer.drain()
        assert running.journal.open == 0, "published or owed"
        assert await pay(session, running.publish, running.debts) > 0
        assert await unpublished(running.cells, kafka, topic, users) == []
