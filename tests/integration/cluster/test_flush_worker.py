"""The flusher behind a real log: what one that died had only noted, the next one writes."""

import pytest

from plaudit.adapters.cassandra import CassandraCounts, CassandraLists
from plaudit.adapters.system import SystemClock
from plaudit.domain.cell import Header
from plaudit.ports.ledger import Target
from plaudit.services.flush import Flush
from plaudit.telemetry import Metrics
from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.support.cassandra import fresh_target, open_session
from tests.support.log import Log, event, working
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)


async def test_what_a_dead_flusher_had_noted_is_written_by_the_next(
    cassandra: Cassandra, kafka: Kafka, anyio_backend: str
) -> None:
    log, target, clock = Log(kafka, 1), fresh_target(), SystemClock()
    async with (
        open_session(cassandra) as session,
        CassandraCounts(session) as counts,
        CassandraLists(session) as lists,
    ):
        log.fill(0, [event(target, seq) for seq in range(1, 11)])
        dead = Flush(counts, lists, clock)
        async with working(log, dead, Metrics(), behind_s=dead.behind_s, epoch=dead.epoch):
            await until(lambda: len(dead) == 1, "the note")
        assert await counts.get([target]) == {}, "it never came to write"
        flush = Flush(counts, lists, clock, every_s=0.1)
        async with flush, working(log, flush, Metrics(), behind_s=flush.behind_s, epoch=flush.epoch):
            await until(lambda: flush.written > 0, "the end of a window")
            await until(lambda: not len(flush), "nothing more to write")
        assert await counts.get([target]) == {target: Target(Header(10, "post", (10,), 10))}
