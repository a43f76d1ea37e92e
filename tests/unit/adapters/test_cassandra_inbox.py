"""What is taken back of an inbox in which something cannot be read."""

from collections.abc import Iterable
from typing import Any

import pytest

from plaudit.adapters.cassandra.inbox import PAGE, CassandraInbox
from plaudit.adapters.cassandra.notices import pack_message
from tests.support.notifying import OWNER, message

NOTHING: Any = None  # what taking back does not touch


class Inbox(CassandraInbox):
    """One whose lines are these."""

    def __init__(self, lines: list[tuple[Any, ...]]) -> None:
        super().__init__(NOTHING, NOTHING, NOTHING)
        self.lines = lines
        self.dropped: list[str] = []

    async def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        _, at, id_, limit = values
        return [line for line in self.lines if line[:2] < (at, id_)][:limit]

    async def _write_all(self, writes: Iterable[tuple[Any, ...]]) -> None:
        self.dropped += [id_ for _, _, _, id_ in writes]


async def test_a_message_that_cannot_be_read_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    bodies = [pack_message(message(f"m{at:03}", at=at)) for at in range(PAGE + 20)]
    bodies[PAGE] = b"\xc1"
    inbox = Inbox([(at, f"m{at:03}", body, False) for at, body in reversed([*enumerate(bodies)])])
    assert await inbox.take_back("t", [OWNER], None) == PAGE + 19
    assert f"m{PAGE:03}" not in inbox.dropped
    assert f"m{PAGE:03}" in caplog.text
