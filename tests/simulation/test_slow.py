"""A Redis that answers, and each time quickly enough, but not as much as is asked for."""

import asyncio
from collections.abc import Sequence
from random import Random

from plaudit.adapters.redis.reads import AT_ONCE, Reads, Values
from plaudit.domain.cell import Header
from plaudit.ports.ledger import Target
from plaudit.services.probed import SLOW_S
from tests.simulation import loop
from tests.simulation.test_cold import PER_CALL, Process, SharedTotals

TRAVEL_S = 0.2
TOGETHER = 100  # keys
CALLS_PER_S = 100.0
SECONDS = 10.0
LEDGER_S = 0.3  # the ledger takes no longer, with all who come to it at once


class SlowTotals(SharedTotals):
    """Each read travels for so long, with as many keys as travel together."""

    def __init__(self, targets: Sequence[str]) -> None:
        super().__init__()
        self.kept = dict.fromkeys(targets, Target(Header(1, "post", (1,), 1)))
        self._reads = Reads(self._read, TOGETHER)

    async def get(self, ids: Sequence[str]) -> dict[str, Target]:
        await self._reads.get(ids)
        return await super().get(ids)

    async def _read(self, keys: list[str]) -> Values:
        await asyncio.sleep(TRAVEL_S)
        return [None] * len(keys)


def test_one_that_cannot_keep_up_is_read_past_and_it_says_so() -> None:
    assert TRAVEL_S < SLOW_S
    assert AT_ONCE * TOGETHER / TRAVEL_S < CALLS_PER_S * PER_CALL / 1.5, "more is asked for than it answers"

    async def main() -> None:
        targets = [f"t{n}" for n in range(20_000)]
        process = Process(SlowTotals(targets))
        process.ledger.per_s = 10_000
        await process.read(Random(1), targets, CALLS_PER_S, SECONDS)
        assert process.refused() == 0
        assert max(took_s for _, took_s, *_ in process.calls) < SLOW_S + LEDGER_S
        said = [degraded for _, took_s, _, degraded in process.calls if took_s > SLOW_S]
        assert said
        assert all(said), "it is said"
        quick = sum(took_s < TRAVEL_S for _, took_s, *_ in process.calls)
        assert quick > len(process.calls) / 4, "most of the time nobody waits for it"
        await process.close()

    loop.run(main())
