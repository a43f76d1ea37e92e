"""Registrations as commits of cells."""

import asyncio
from random import Random
from typing import Any

from plaudit.domain.catalogue import Registration
from plaudit.domain.lanes import seal
from plaudit.ports.cells import CellKey, Proposal
from plaudit.services.alter import Alter
from plaudit.services.directory import CellDirectory
from plaudit.services.publish import Publish
from tests.simulation import loop
from tests.simulation.log import Away, SimulatedLog
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.simulation.world import ProcessClock

KEY, LANES = CellKey("t"), 4
NOTHING: Any = None  # what registering does not touch
MESSAGE = Registration(type="message", owner="olga", title="Secret", allowed=6)


def directory(store: SimulatedStore, seed: int, faults: Faults = Faults()) -> CellDirectory:  # noqa: B008 - a tuple
    random = Random(seed)
    cells, clock, log = (
        SimulatedCells(store, random, faults),
        ProcessClock(random),
        SimulatedLog(random, Away()),
    )
    return CellDirectory(
        Alter(cells, Publish(log, log, cells, clock), clock, random), NOTHING, NOTHING, clock
    )


def test_a_part_of_a_registration_reaches_every_lane_of_a_split_target() -> None:
    store = SimulatedStore()
    one = directory(store, 0)

    async def main() -> None:
        await one.register("t", MESSAGE)
        root = store.states(KEY)[-1].header
        assert root is not None
        assert store.decide(KEY, Proposal(root.seq, seal(root, LANES), {}, lanes=root.lanes), 0.0)
        told = await one.register(
            "t", Registration(type="post", closed=True), ("type", "owner", "title", "allowed")
        )
        expected = Registration(type="message", owner="olga", title="Secret", allowed=6, closed=True)
        assert told.registration == expected
        assert await one.registered("t") == told
        assert told.header is not None
        assert told.header.seq == sum(
            store.states(CellKey("t", lane))[-1].header.seq for lane in range(LANES + 1)
        )
        for lane in range(1, LANES + 1):
            last = store.states(CellKey("t", lane))[-1]
            assert (last.registration, last.header.type) == (expected, "message")

    loop.run(main())


def test_parts_told_at_once_through_a_store_that_fails_are_all_there() -> None:
    """In another order each time, with answers that are lost."""
    parts: list[dict[str, Any]] = [{"closed": True}, {"owner": "other"}, {"title": None}, {"allowed": None}]
    for seed in range(60):
        store = SimulatedStore()

        async def main(seed: int, store: SimulatedStore) -> None:
            await directory(store, seed).register("t", MESSAGE)
            await asyncio.gather(
                *(
                    directory(store, 100 * seed + n, Faults(lost_reply=0.3)).register(
                        "t",
                        Registration(**{"type": "post", **part}),
                        set(Registration.__struct_fields__) - set(part),
                    )
                    for n, part in enumerate(parts)
                )
            )

        loop.run(main(seed, store))
        expected = Registration(type="message", owner="other", closed=True)
        assert store.states(KEY)[-1].registration == expected, seed
