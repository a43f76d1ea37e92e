"""What the indexer writes for events that come together, on tables that keep what Cassandra would."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from plaudit.adapters.cassandra import CassandraIndex
from plaudit.domain.cell import Transition
from plaudit.domain.events import Cause, Committed
from tests.simulation.lists import Tables
from tests.support.taps import LIKE, LOVE, NONE


def event(move: Transition, cause: Cause = "tap", bucket: int = 0, lanes: int = 1) -> Committed:
    return Committed("t", bucket, "post", lanes, cause, 1, (), 0, 0, (), (move,))


def listed(*calls: Sequence[Committed]) -> list[tuple[str, int, int]]:
    """Who reacted, as both lists say it, after these calls."""
    tables = Tables()
    session: Any = tables

    async def main() -> None:
        async with CassandraIndex(session) as index:
            for events in calls:
                await index.apply(events)

    asyncio.run(main())
    assert tables.reactors("t") == tables.reacted("t")
    return tables.reactors("t")


@pytest.mark.parametrize("together", [True, False])
def test_who_taps_in_a_lane_leaves_the_list_of_the_root(together: bool) -> None:
    root = event(Transition("ann", NONE, LIKE, 5, 5))
    lane = event(Transition("ann", LIKE, LOVE, 5, 9), bucket=2, lanes=4)
    calls = [[root, lane]] if together else [[root], [lane]]
    assert listed(*calls) == [("ann", 5, LOVE)]


@pytest.mark.parametrize("first", [0, 1])
def test_of_an_entry_that_comes_and_goes_at_one_time_nothing_is_left(first: int) -> None:
    moves = [event(Transition("ann", None, code, 5, 9)) for code in (LIKE, NONE)]
    assert listed([moves[first], moves[1 - first]]) == []


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_deletions_the_later_one_counts(first: int) -> None:
    tap = event(Transition("ann", NONE, LIKE, 5, 15))
    gone = [event(Transition("ann", None, NONE, 5, at), "delete") for at in (10, 20)]
    assert listed([tap, gone[first], gone[1 - first]]) == []
