"""Three nodes: what is read while a commit has reached only one of them, and what a dead or frozen node costs."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from random import Random

import pytest

from plaudit.adapters.cassandra import CassandraCells
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Header, Row, Rules
from plaudit.domain.errors import OutcomeUnknown
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.services.commit_cells import CellCommitter
from plaudit.services.known import Known
from plaudit.services.near import NearCache
from plaudit.services.pace import Limits
from plaudit.services.propose import Proposer
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.support.cassandra import fresh_target, open_session
from tests.support.taps import set_to
from tests.support.totals import NoCounters

pytestmark = [pytest.mark.timeout(400), pytest.mark.three_nodes]

# Hints too: after a while they bring the whole commit to who missed it.
COMMITS = ("PAXOS_COMMIT_REQ", "PAXOS2_COMMIT_REMOTE_REQ", "PAXOS2_COMMIT_AND_PREPARE_REQ", "HINT_REQ")
# A read asks two replicas of three. Of a cell whose commit neither of them has nothing is repaired, and nothing seen.
CELLS_OF_EACH = 4
OLD, NEW = Row(1, 1, 1, b"x" * 14), Row(2, 1, 2, b"y" * 14)


@pytest.fixture
async def cells(cassandra_ring: Cassandra, anyio_backend: str) -> AsyncIterator[CassandraCells]:
    async with open_session(cassandra_ring) as session, CassandraCells(session) as opened:
        yield opened


def header(seq: int) -> Header:
    return Header(seq=seq, type="post", counts=(seq,), rows=2, last_at=seq, born=1)


STATES = {
    1: CellState(header(1), None, {"ann": OLD, "bob": OLD}),
    2: CellState(header(2), None, {"ann": NEW, "bob": NEW}),
}


async def whole_after_half_a_commit(ring: Cassandra, keyspace: str) -> list[bool]:
    """Commit to one replica of three, read one row through each, then the other row from the two that lack the commit.

    For some cells of each coordinator: whether what those two showed was of one moment. Commit messages are dropped,
    whoever coordinates, and then the requests to read from the node that has the commit.
    """
    keys = [CellKey(fresh_target()) for _ in range(3 * CELLS_OF_EACH)]
    whole = []
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(open_session(ring, node, keyspace)) for node in range(3)]
        through = [await stack.enter_async_context(CassandraCells(session)) for session in sessions]
        for key in keys:
            assert await through[0].propose(key, Proposal(0, header(1), STATES[1].rows))
        drops = stack.enter_context(ExitStack())
        drop(drops, ring, COMMITS, {0, 1, 2})
        second = Proposal(1, header(2), STATES[2].rows)
        work = [through[n % 3].propose(key, second) for n, key in enumerate(keys)]
        results = await asyncio.gather(*work, return_exceptions=True)
        assert {type(result) for result in results} == {OutcomeUnknown}, "one replica of three is no quorum"
        await asyncio.gather(*(read_through_each(through, key) for key in keys))
        for node in range(3):
            with ExitStack() as unseen:
                drop(unseen, ring, ["READ_REQ"], {node})
                read = [through[(node + 1) % 3].read(key, ["bob"]) for key in keys[node::3]]
                found = await asyncio.gather(*read)
            whole += [state.rows == {"bob": STATES[state.seq].rows["bob"]} for state in found]
        drops.close()
        for key in keys:
            assert await through[0].settle(key, ["ann", "bob"]) == STATES[2], (
                "a majority accepted it: it is decided"
            )
            assert await through[1].read(key, ["ann", "bob"]) == STATES[2]
    return whole


async def read_through_each(through: Sequence[CassandraCells], key: CellKey) -> None:
    for one in through:
        found = await one.read(key, ["ann"])
        assert found.rows == {"ann": STATES[found.seq].rows["ann"]}


def drop(stack: ExitStack, ring: Cassandra, verbs: Sequence[str], to: set[int]) -> None:
    """Drop messages of these verbs to these nodes from every other one, until the stack ends."""
    for node in range(3):
        stack.enter_context(ring.dropping(node, verbs, to - {node}))


@pytest.mark.usefixtures("patient_cassandra")
async def test_a_commit_that_reached_one_node_is_never_read_in_part(cassandra_ring: Cassandra) -> None:
    assert await whole_after_half_a_commit(cassandra_ring, "plaudit") == [True] * 3 * CELLS_OF_EACH


@pytest.mark.usefixtures("patient_cassandra")
async def test_with_blocking_read_repair_it_would_be(cassandra_ring: Cassandra) -> None:
    """Why the schema says `read_repair = 'NONE'`, and that the test above would notice.

    In a keyspace of its own: a statement that was prepared before such a change goes on as it was.
    """
    async with open_session(cassandra_ring, 0, "repairing") as session:
        await session.change_schema("ALTER TABLE repairing.cell WITH read_repair = 'BLOCKING'")
    assert not all(await whole_after_half_a_commit(cassandra_ring, "repairing"))


@pytest.mark.parametrize("what", ["killed", "frozen"])
async def test_a_node_that_is_killed_or_frozen_loses_and_doubles_nothing(
    cassandra_ring: Cassandra, cells: CassandraCells, what: str
) -> None:
    """Eight users tap on eight cells, one after the other, while a node goes; each knows how it must end."""
    clock, random = SystemClock(), Random(1)
    near = NearCache(NoCounters(), Catalogue(), entries=100, public=True)
    proposer = Proposer(cells, Known(), clock, Rules(Catalogue()))
    limits = Limits(deadline_s=60, answer_within_s=60)
    committer = CellCommitter(proposer, near, clock, Metrics(), random, None, limits)
    targets = [fresh_target() for _ in range(8)]
    stop = asyncio.Event()
    ends: dict[tuple[str, str], int] = {}
    longest_s = 0.0

    async def user(name: str) -> None:
        nonlocal longest_s
        while not stop.is_set():
            target, reaction = random.choice(targets), random.choice((0, 1, 2))
            began_s = time.monotonic()
            await committer.submit(target, set_to(name, reaction))
            longest_s = max(longest_s, time.monotonic() - began_s)
            ends[target, name] = reaction

    users = [asyncio.create_task(user(f"u{n}")) for n in range(8)]
    while len(ends) < 20:
        await asyncio.sleep(0.01)
    node = cassandra_ring.nodes[2]
    node.kill() if what == "killed" else node.freeze()
    try:
        await asyncio.sleep(6)  # longer than the driver's patience with a silent connection
        stop.set()
        await asyncio.gather(*users)
        await committer.drain()
        for target in targets:
            names = {name for place, name in ends if place == target}
            found = await cells.settle(CellKey(target), names)
            stored = {name: row.reaction for name, row in found.rows.items() if row.reaction}
            assert stored == {name: ends[target, name] for name in names if ends[target, name]}
            assert (found.header.total if found.header else 0) == len(stored)
        assert longest_s < 45, "two of three are a quorum"
    finally:
        if what == "frozen":
            node.thaw()
            cassandra_ring.wait()
        else:
            cassandra_ring.start()
