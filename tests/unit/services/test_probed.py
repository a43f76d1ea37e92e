"""A store that others can do without: not waited for while it is away, and slow is away."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from plaudit.domain.errors import Unavailable
from plaudit.services.probed import FAILURES, Probed
from tests.simulation import loop
from tests.support.wait import until

SLOW_S = 0.02


class Store:
    """Answers when it is let go on."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()

    async def answer(self) -> int:
        self.asked += 1
        await self.go.wait()
        return 7


@pytest.fixture
async def probed(anyio_backend: str) -> AsyncIterator[Probed]:
    probed = Probed("a store", every_s=0.005, slow_s=SLOW_S)
    yield probed
    await probed.close()


async def test_one_that_answers_too_late_is_away_until_it_answers_in_time(probed: Probed) -> None:
    store = Store()
    assert await probed.ask(store.answer) == 7
    store.go.clear()
    for _ in range(FAILURES):
        with pytest.raises(Unavailable, match="no answer in"):
            await probed.ask(store.answer)
        assert probed.degraded
    assert probed.away
    asked = store.asked
    with pytest.raises(Unavailable, match="only probed"):
        await probed.ask(store.answer)
    assert store.asked == asked, "nobody waits for it"
    await until(lambda: store.asked > asked + 1, "probes give up in time, too")
    store.go.set()
    await until(lambda: not probed.away, "a probe finds it back")
    assert await probed.ask(store.answer) == 7
    assert not probed.degraded


async def test_who_gives_up_by_themselves_says_nothing_of_the_store(probed: Probed) -> None:
    store = Store()
    store.go.clear()
    for _ in range(2 * FAILURES):
        asking = asyncio.create_task(probed.ask(store.answer))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert not probed.degraded


def test_answers_at_the_last_moment_take_back_no_failure() -> None:
    """A queue that is too long answers some just in time."""

    async def main() -> None:
        probed = Probed("a store", slow_s=1.0)
        for takes_s in (2.0, 0.9, 2.0, 0.9, 2.0):
            await asyncio.gather(probed.ask(partial(asyncio.sleep, takes_s)), return_exceptions=True)
        assert probed.away
        await probed.close()
        probed = Probed("a store", slow_s=1.0)
        for takes_s in (2.0, 0.1, 2.0, 0.1, 2.0):
            await asyncio.gather(probed.ask(partial(asyncio.sleep, takes_s)), return_exceptions=True)
        assert not probed.away
        assert probed.degraded

    loop.run(main())
