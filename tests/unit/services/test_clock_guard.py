"""A process with a wrong clock commits nothing."""

from random import Random

import pytest

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Rules, Tap, Verb
from plaudit.domain.errors import Unavailable
from plaudit.ports.cells import CellKey
from plaudit.services.clock_guard import ClockGuard
from plaudit.services.known import Known
from plaudit.services.propose import Proposer, Settled
from tests.simulation.store import Faults, SimulatedCells, SimulatedStore
from tests.support.clock import ManualClock
from tests.support.wait import until


class Store:
    """A clock of its own; asking takes `takes_s` of ours."""

    def __init__(self, ours: ManualClock, ahead_s: float = 0.0, takes_s: float = 0.0) -> None:
        self._ours = ours
        self.behind_us = round(ahead_s * 1_000_000)
        self.takes_s = takes_s
        self.away = False

    async def now_us(self) -> int:
        if self.away:
            raise Unavailable("nobody there")
        self._ours.advance(self.takes_s / 2)
        theirs = self._ours.now_us() - self.behind_us
        self._ours.advance(self.takes_s / 2)
        return theirs


@pytest.mark.parametrize(
    ("ahead_s", "takes_s", "trusted"),
    [
        (0, 0, True),
        (0.9, 0, True),
        (-0.9, 0, True),
        (1.1, 0, False),
        (-1.1, 0, False),
        (1.1, 0.4, True),
        (2, 1, False),
    ],
)
async def test_a_second_is_tolerated_and_the_error_of_measuring_too(
    ahead_s: float, takes_s: float, trusted: bool
) -> None:
    clock = ManualClock()
    guard = ClockGuard(Store(clock, ahead_s, takes_s), clock)
    await guard.compare()
    assert guard.ahead_s == pytest.approx(ahead_s, abs=1e-6)
    assert guard.trusted() is trusted


async def test_it_watches_says_so_and_forgives(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    store = Store(clock)
    async with ClockGuard(store, clock, every_s=0.001) as guard:
        store.behind_us = 5_000_000
        await until(lambda: not guard.trusted(), "the guard to notice")
        store.away = True
        await until(lambda: "could not be compared" in caplog.text, "a failed comparison")
        assert not guard.trusted(), "what was known before stays"
        store.away, store.behind_us = False, 0
        await until(guard.trusted, "the guard to forgive")
    assert "5.0 s ahead" in caplog.text


async def test_without_a_trusted_clock_nothing_is_proposed() -> None:
    trusted = False
    store = SimulatedStore()
    cells = SimulatedCells(store, Random(0), Faults(delay_s=0))
    proposer = Proposer(cells, Known(), ManualClock(), Rules(Catalogue()), lambda: trusted)
    taps = [Tap("ann", Verb.SET, 1, b"12345678")]
    with pytest.raises(Unavailable):
        await proposer.attempt(CellKey("t"), taps)
    assert len(store.states(CellKey("t"))) == 1
    trusted = True
    assert isinstance(await proposer.attempt(CellKey("t"), taps), Settled)
