"""Own state beside stores that take their time: what is believed of a silence, and who waits."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from random import Random

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Header
from plaudit.domain.errors import Unavailable
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Entry
from plaudit.ports.own import NOTHING, Change, Recalled, State
from plaudit.services.near import NearCache
from plaudit.services.own_state import LOAD_WITHIN_S, Own
from tests.simulation import loop
from tests.simulation.world import START_US, ProcessClock

BORN = 5


class Stores:
    """See `plaudit.ports.own` (all three of it): of a user with no reaction at all, on targets born at `BORN`."""

    def __init__(self) -> None:
        self.since: int | None = None
        self.takes_s = 0.0  # the reading of a list
        self.finished = 0
        self.asked: list[str] = []  # of the ledger
        self.asked_how_far = 0
        self.knows_how_far = True

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        return {id_: Target(Header(1, "post", (1,), 1, BORN, BORN)) for id_ in ids}

    async def recall(self, user: str, targets: Sequence[str]) -> Recalled:
        return Recalled({}, self.since)

    async def note(self, changes: Sequence[Change], *, create: bool) -> None:
        return None

    async def begin(self, user: str) -> str:
        return "token"

    async def finish(self, user: str, token: str, since: int, states: Mapping[str, State]) -> int | None:
        self.finished += 1
        return since

    async def forget(self, users: Collection[str] = ()) -> None:
        return None

    async def reach(self, partitions: Mapping[int, int]) -> None:
        return None

    async def reached(self) -> int | None:
        self.asked_how_far += 1
        if not self.knows_how_far:
            raise Unavailable("simulated")
        return START_US + 1_000_000 * 3600

    async def newest(self, user: str, limit: int) -> list[tuple[Entry, int]]:
        await asyncio.sleep(self.takes_s)
        return []

    async def states(self, user: str, targets: Sequence[str]) -> dict[str, State]:
        self.asked += targets
        return dict.fromkeys(targets, NOTHING)

    async def reacted(self, user: str, before: tuple[int, str] | None, limit: int) -> list[Entry]:
        return []


def own(stores: Stores) -> Own:
    near = NearCache(stores, Catalogue(), entries=9, public=True)
    return Own(stores, stores, stores, near, ProcessClock(Random(0)))


def test_the_ledger_is_asked_of_what_is_as_old_as_the_silence() -> None:
    async def main() -> None:
        stores = Stores()
        async with own(stores) as asked:
            for since, old in ((BORN - 1, []), (BORN, ["t"]), (0, [])):
                stores.since, stores.asked = since, []
                assert await asked.mine("ann", ["t"]) == {}
                assert stores.asked == old

    loop.run(main())


def test_a_list_that_was_read_for_too_long_is_not_believed() -> None:
    """Taps of meanwhile are kept for a quarter of an hour only."""

    async def main() -> None:
        stores = Stores()
        async with own(stores) as asked:
            stores.takes_s = LOAD_WITHIN_S + 1
            await asked.mine("ann", ["t"])
            assert (stores.finished, stores.asked) == (0, ["t"])
            stores.takes_s = LOAD_WITHIN_S - 1
            await asked.mine("ann", ["t"])
            assert (stores.finished, stores.asked) == (1, ["t"])

    loop.run(main())


def test_of_many_one_waits_to_hear_how_far_the_lists_are() -> None:
    async def main() -> None:
        stores = Stores()
        stores.knows_how_far = False
        async with own(stores) as asked:
            for user in ("ann", "bob", "cid"):
                assert await asked.mine(user, ["t"]) == {}
        assert stores.asked_how_far == 1

    loop.run(main())
