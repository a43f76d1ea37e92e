"""What is found too hot for one cell: a viral target however it is tapped on, and none that is only busy.

Each committer has the real `SplitHot`; instead of splitting, the moment is noted.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import pytest

from plaudit.ports.cells import CellKey, Proposal
from plaudit.ports.ledger import Target
from plaudit.services.heat import Bounds, Heat
from plaudit.services.split import SplitHot
from plaudit.telemetry import Metrics
from tests.simulation.loop import run
from tests.simulation.overload import Clock, Overload, Stream, play
from tests.simulation.test_rivals import crowd

BOUNDS = Bounds(rows=10**9)  # so that no target is merely too big


class Noted:
    """Stands where targets are split."""

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        self.at_s: list[float] = []
        self.hot = SplitHot(self, Heat(bounds), Clock(), Metrics())  # type: ignore[arg-type] # it only splits

    async def split(self, target: str) -> Target:
        self.at_s.append(asyncio.get_running_loop().time())
        return Target()


class Case(NamedTuple):
    """How long a commit takes, of how many users, and who taps: the ids, and the share that changes nothing."""

    commit_s: float
    capacity: int = 128
    users: Callable[[int], str] = "u{}".format
    unchanged: float = 0.0

    def found_hot(self, *loads: tuple[float, float, float], bounds: Bounds = BOUNDS) -> list[float]:
        """When. Each of the loads is times the capacity, and from one second to another."""
        noted = Noted(bounds)
        how = {"users": self.users, "unchanged": self.unchanged, "hot": noted.hot}
        per_s = self.capacity / self.commit_s
        streams = [Stream(["t"], times * per_s, from_s, to_s) for times, from_s, to_s in loads]
        play(Overload(1, {"t": self.commit_s}, **how), *streams)  # type: ignore[arg-type] # they are
        return noted.at_s


def long_id(number: int) -> str:
    """Ids of which a commit takes 64, by weight."""
    return f"{number:090d}"


VIRAL = {
    "each tap changes a row": Case(0.1),
    "a slow store": Case(0.5),
    "one tap in a hundred changes nothing": Case(0.1, unchanged=0.01),
    "one in two": Case(0.5, unchanged=0.5),
    "long ids": Case(0.1, 64, long_id),
    "long ids in a slow store": Case(0.5, 64, long_id),
}


@pytest.mark.parametrize("times", [1.5, 10])
@pytest.mark.parametrize("case", VIRAL.values(), ids=VIRAL)
def test_a_viral_target_is_found_soon(case: Case, times: float) -> None:
    """In little more time than is set, and not before it has passed. The target was busy already."""
    began_s, seconds = 5.0, 2.5 * BOUNDS.queue_for_s
    found = case.found_hot((0.7, 0, began_s), (times, began_s, began_s + seconds))
    assert found
    assert BOUNDS.queue_for_s <= found[0] - began_s


@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_how_soon_is_a_setting(seconds: float) -> None:
    (found, *_) = Case(0.1).found_hot((3, 0, 2 * seconds), bounds=BOUNDS._replace(queue_for_s=seconds))
    assert seconds <= found <= 1.5 * seconds


@pytest.mark.parametrize("case", [Case(0.1), Case(0.1, 64, long_id), Case(0.1, unchanged=0.01)])
def test_a_target_at_nine_tenths_of_what_its_cell_takes_is_not_too_hot(case: Case) -> None:
    assert not case.found_hot((0.9, 0, 20))


@pytest.mark.parametrize("commit_s", [0.1, 0.5])
def test_a_crowd_that_comes_at_once_and_goes_is_not_too_hot(commit_s: float) -> None:
    """For a second everybody taps; then it is as before, and the queue takes a second or two to be gone."""
    waves = [(1.0, from_s, from_s + 1.0) for from_s in (3.0, 9.0)]
    assert not Case(commit_s).found_hot((0.5, 0, 13), *waves)


@pytest.mark.parametrize("pause_s", [1.0, 5.0])
def test_what_gathers_while_the_store_pauses_is_not_too_hot(pause_s: float) -> None:
    noted = Noted()
    overload = Overload(1, {"t": 0.05}, hot=noted.hot)
    commit_s, held = overload.cells._commit_s, overload.cells.propose

    async def pauses(key: CellKey, proposal: Proposal) -> bool:
        commit_s["t"] = pause_s if len(overload.cells.began_s.get("t", ())) == 50 else 0.05
        return await held(key, proposal)

    overload.cells.propose = pauses  # type: ignore[method-assign] # for this test alone
    play(overload, Stream(["t"], 0.8 * 128 / 0.05, 0, 8 + pause_s))
    assert not noted.at_s


def test_processes_that_are_in_each_others_way_find_it_too() -> None:
    """Too few users for full commits; but a third of the proposals are refused."""
    noted = Noted()
    run(crowd(1, users=128, hot=noted.hot, seconds=1.5 * BOUNDS.refused_for_s))
    assert noted.at_s
    assert noted.at_s[0] >= BOUNDS.refused_for_s


def test_taps_that_go_astray_are_not_too_much() -> None:
    """A few each second, as while a load balancer learns of a new process."""
    noted = Noted()
    run(crowd(1, users=128, astray=0.003, hot=noted.hot))
    assert not noted.at_s
