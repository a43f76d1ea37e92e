"""A store that others can do without: not waited for while it is away, and slow is away."""

import asyncio
import time
from functools import partial

import pytest

from plaudit.domain.errors import Unavailable
from plaudit.services.probed import FAILURES, Probed
from tests.simulation import loop

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


def test_one_that_answers_too_late_is_away_until_it_answers_in_time() -> None:
    async def main() -> None:
        store, probed = Store(), Probed("a store", every_s=1.0, slow_s=1.0)
        assert await probed.ask(store.answer) == 7
        store.go.clear()
        for _ in range(FAILURES):
            assert not probed.away
            with pytest.raises(Unavailable, match="no answer in"):
                await probed.ask(store.answer)
            assert probed.degraded
        assert probed.away
        asked = store.asked
        with pytest.raises(Unavailable, match="only probed"):
            await probed.ask(store.answer)
        assert store.asked == asked, "nobody waits for it"
        await asyncio.sleep(4.5)
        assert store.asked == asked + 2, "probes give up in time, too, and pause"
        store.go.set()
        await asyncio.sleep(2)
        assert not probed.away, "a probe finds it back"
        assert not probed.degraded
        assert await probed.ask(store.answer) == 7
        await probed.close()

    loop.run(main())


def test_who_gives_up_by_themselves_says_nothing_of_the_store() -> None:
    async def main() -> None:
        store, probed = Store(), Probed("a store", slow_s=1.0)
        store.go.clear()
        for _ in range(2 * FAILURES):
            asking = asyncio.create_task(probed.ask(store.answer))
            await asyncio.sleep(0.5)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        assert not probed.degraded
        await probed.close()

    loop.run(main())


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


async def test_a_pause_of_this_process_says_nothing_of_the_store(anyio_backend: str) -> None:
    """Its timers come before the answers, which were there in time."""
    probed = Probed("a store", slow_s=SLOW_S)

    async def answer() -> int:
        await asyncio.sleep(SLOW_S / 10)
        return 7

    asking = [asyncio.create_task(probed.ask(answer)) for _ in range(2 * FAILURES)]
    await asyncio.sleep(0)  # all of them have asked
    time.sleep(2 * SLOW_S)
    await asyncio.gather(*asking, return_exceptions=True)
    assert not probed.degraded
    await probed.close()


def test_of_many_that_were_asked_at_once_one_failure_is_counted() -> None:
    async def main() -> None:
        probed = Probed("a store", slow_s=1.0)
        many = (probed.ask(partial(asyncio.sleep, 2.0)) for _ in range(2 * FAILURES))
        await asyncio.gather(*many, return_exceptions=True)
        assert probed.degraded
        assert not probed.away
        await probed.close()

    loop.run(main())


def test_an_answer_from_before_it_went_away_does_not_bring_it_back() -> None:
    async def fails() -> None:
        raise Unavailable("away")

    async def main() -> None:
        probed = Probed("a store", slow_s=1.0)
        early = asyncio.create_task(probed.ask(partial(asyncio.sleep, 0.1)))
        for _ in range(FAILURES):
            await asyncio.sleep(0.01)
            await asyncio.gather(probed.ask(fails), return_exceptions=True)
        await early
        assert probed.away
        assert probed.degraded
        await probed.close()

    loop.run(main())


def test_a_probe_that_is_answered_at_the_last_moment_does_not_bring_the_store_back() -> None:
    """What is asked then would not be answered any sooner, and the store go away again with the next."""

    async def main() -> None:
        probed = Probed("a store", every_s=1.0, slow_s=1.0)
        took_s = 2.0

        async def answer() -> None:
            await asyncio.sleep(took_s)

        for _ in range(FAILURES):
            await asyncio.gather(probed.ask(answer), return_exceptions=True)
        took_s = 0.9
        await asyncio.sleep(20)
        assert probed.away
        took_s = 0.1
        await asyncio.sleep(4)
        assert not probed.away
        await probed.close()

    loop.run(main())
