"""What is taken back of an inbox in which something cannot be read."""

from collections.abc import Iterable
from typing import Any

import pytest

from plaudit.adapters.cassandra.inbox import ONE, PAGE, CassandraInbox
from plaudit.adapters.cassandra.notices import pack_message
from tests.support.notifying import OWNER, message

NOTHING: Any = None  # what taking back does not touch


class Inbox(CassandraInbox):
    """One whose lines are these."""

    def __init__(self, lines: list[tuple[Any, ...]]) -> None:
        async def erased(_: object) -> list[str]:
            return []

        super().__init__(NOTHING, NOTHING, erased)
        self.lines = lines
        self.dropped: list[str] = []

    async def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        if query == ONE:
            return [(body, read) for at, id_, body, read in self.lines if (at, id_) == values[1:]]
        _, at, id_, limit = values
        return [line for line in self.lines if line[:2] < (at, id_)][:limit]

    async def _write_all(self, writes: Iterable[tuple[Any, ...]]) -> None:
        self.dropped += [id_ for _, _, _, id_ in writes]


def with_bad(*bad: int) -> Inbox:
    bodies = [pack_message(message(f"m{at:03}", at=at)) for at in range(PAGE + 20)]
    for at in bad:
        bodies[at] = b"\xc1"
    return Inbox([(at, f"m{at:03}", body, False) for at, body in reversed([*enumerate(bodies)])])


async def test_a_message_that_cannot_be_read_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    inbox = with_bad(PAGE)
    assert await inbox.take_back("t", [OWNER], None) == PAGE + 19
    assert f"m{PAGE:03}" not in inbox.dropped
    assert f"m{PAGE:03}" in caplog.text


async def test_its_owner_is_shown_all_others() -> None:
    """And a page is full where there are more: who asks for one knows by that."""
    inbox = with_bad(0, 100, 101, 115, 119)
    first = await inbox.page(OWNER, None, 15)
    assert [m.at for m in first] == [
        118,
        117,
        116,
        114,
        113,
        112,
        111,
        110,
        109,
        108,
        107,
        106,
        105,
        104,
        103,
    ]
    rest = await inbox.page(OWNER, (103, "m103"), 200)
    assert [m.at for m in rest] == [102, *range(99, 0, -1)]


async def test_pushes_of_other_messages_are_made() -> None:
    inbox = with_bad(7)
    assert {*await inbox.read((OWNER, at, f"m{at:03}") for at in (6, 7, 8))} == {"m006", "m008"}
