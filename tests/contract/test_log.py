"""What `plaudit.ports.log.EventLog` promises."""

import pytest

from plaudit.adapters.sqlite import log
from plaudit.domain.cell import Transition
from plaudit.domain.events import decode
from tests.support.clock import ManualClock
from tests.support.stores import Stores
from tests.support.taps import LIKE, LOVE, NONE, cell, set_to, toggle


async def commits(stores: Stores, count: int, first: int = 0) -> None:
    for n in range(first, first + count):
        await stores.tap(f"t{n}", toggle("ann"))


async def targets(stores: Stores, consumer: str, limit: int = 100) -> list[str]:
    return [decode(body).target for _, body in await stores.log.read(consumer, limit)]


async def test_events_come_in_commit_order_with_growing_positions(stores: Stores) -> None:
    await stores.ledger.commit([cell(t, toggle("ann")) for t in ("c", "a", "b")])
    await commits(stores, 3)
    found = await stores.log.read("x", 100)
    assert [decode(body).target for _, body in found] == ["c", "a", "b", "t0", "t1", "t2"]
    positions = [position for position, _ in found]
    assert positions == sorted(set(positions))


async def test_an_event_says_what_the_commit_did(stores: Stores, clock: ManualClock) -> None:
    start = clock.now_us()
    await stores.tap("t", toggle("ann", LIKE), toggle("bob", LOVE))
    clock.advance(1)
    await stores.tap("t", set_to("bob", NONE), set_to("cid", NONE, "k"))
    _, body = (await stores.log.read("x", 10))[-1]
    event = decode(body)
    assert (event.target, event.cause, event.seq, event.type, event.rows) == ("t", "tap", 2, "post", 3)
    assert (event.counts, event.born, event.recent) == ((1, 0), start, (("ann", LIKE),))
    assert event.transitions == (Transition("bob", LOVE, NONE, start + 1, start + 1_000_000),)


async def test_a_commit_without_a_change_of_reaction_is_an_event_without_transitions(stores: Stores) -> None:
    await stores.tap("t", set_to("ann", NONE, "k"))
    [(_, body)] = await stores.log.read("x", 10)
    assert (decode(body).seq, decode(body).transitions) == (1, ())


async def test_what_is_not_acknowledged_is_read_again(stores: Stores) -> None:
    await commits(stores, 5)
    first = await stores.log.read("x", 2)
    assert await stores.log.read("x", 2) == first
    assert len(await stores.log.read("x", 100)) == 5


async def test_acknowledged_events_are_not_read_again(stores: Stores) -> None:
    await commits(stores, 5)
    await stores.log.acknowledge("x", (await stores.log.read("x", 2))[-1][0])
    assert await targets(stores, "x", 2) == ["t2", "t3"]
    await stores.log.acknowledge("x", (await stores.log.read("x", 100))[-1][0])
    assert await targets(stores, "x") == []
    await commits(stores, 1, 5)
    assert await targets(stores, "x") == ["t5"]


async def test_an_acknowledgement_never_moves_back(stores: Stores) -> None:
    await commits(stores, 3)
    positions = [position for position, _ in await stores.log.read("x", 10)]
    for position in (positions[1], positions[0], 0):
        await stores.log.acknowledge("x", position)
    assert await targets(stores, "x") == ["t2"]


async def test_consumers_do_not_disturb_each_other(stores: Stores) -> None:
    await commits(stores, 3)
    await stores.log.acknowledge("x", (await stores.log.read("x", 10))[-1][0])
    assert await targets(stores, "y") == ["t0", "t1", "t2"]


async def test_only_what_every_known_consumer_has_passed_is_trimmed(stores: Stores) -> None:
    await commits(stores, 6)
    positions = [position for position, _ in await stores.log.read("x", 10)]
    await stores.log.acknowledge("x", positions[4])
    await stores.log.acknowledge("y", positions[1])
    assert await stores.log.trim(100) == 2
    assert await targets(stores, "y") == ["t2", "t3", "t4", "t5"]
    assert await targets(stores, "x") == ["t5"]
    assert await stores.log.trim(100) == 0
    await stores.log.acknowledge("y", positions[5])
    assert await stores.log.trim(100) == 3
    assert await targets(stores, "x") == ["t5"]


async def test_a_consumer_that_made_itself_known_holds_the_log_back(stores: Stores) -> None:
    """Acknowledging position 0 is how a consumer says at its start that it is there."""
    await stores.log.acknowledge("slow", 0)
    await commits(stores, 3)
    await stores.log.acknowledge("x", (await stores.log.read("x", 10))[-1][0])
    assert await stores.log.trim(100) == 0
    assert await targets(stores, "slow") == ["t0", "t1", "t2"]


async def test_nothing_is_trimmed_while_nobody_consumes(stores: Stores) -> None:
    await commits(stores, 2)
    assert await stores.log.trim(100) == 0
    assert len(await stores.log.read("x", 10)) == 2


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_a_trim_takes_the_oldest_and_no_more_than_asked(stores: Stores, limit: int) -> None:
    await commits(stores, 4)
    await stores.log.acknowledge("x", (await stores.log.read("x", 10))[-1][0])
    assert await stores.log.trim(limit) == min(limit, 4)
    assert await targets(stores, "new") == [f"t{n}" for n in range(limit, 4)]


async def test_positions_go_on_after_everything_was_trimmed(stores: Stores) -> None:
    await commits(stores, 3)
    last = (await stores.log.read("x", 10))[-1][0]
    await stores.log.acknowledge("x", last)
    assert await stores.log.trim(10) == 3
    await commits(stores, 1, 3)
    [(position, body)] = await stores.log.read("x", 10)
    assert position > last
    assert decode(body).target == "t3"


async def test_how_far_a_consumer_is_behind_can_be_asked_of_each_and_of_the_slowest(stores: Stores) -> None:
    async def behind(consumer: str | None) -> int:
        return await stores.log.behind(consumer, await stores.log.end())

    await commits(stores, 2)
    assert await behind(None) == 2, "nobody is known, and it is all kept"
    await stores.ledger.commit([cell(f"u{n}", toggle("ann")) for n in range(4)])
    positions = [position for position, _ in await stores.log.read("x", 10)]
    await stores.log.acknowledge("x", positions[3])
    await stores.log.acknowledge("y", positions[0])
    assert [await behind(who) for who in ("x", "y", "new", None)] == [2, 5, 6, 5]
    earlier = await stores.log.end()
    await commits(stores, 3, 2)
    assert [await stores.log.behind(who, earlier) for who in ("x", "y", None)] == [2, 5, 5]
    assert await behind("x") == 5
    await stores.log.trim(10)
    assert [await behind(who) for who in ("x", "y", None)] == [5, 8, 8]
    await stores.log.acknowledge("x", await stores.log.end())
    assert await behind("x") == 0
    assert await stores.log.behind("x", 0) == 0


async def test_of_very_many_events_at_least_so_many_are_told(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "LINES_COUNTED", 2)
    for n in range(4):
        await stores.ledger.commit([cell(f"t{n}-{m}", toggle("ann")) for m in range(3)])
    assert await stores.log.behind("x", await stores.log.end()) == 3 + 3 + 1 + 1
