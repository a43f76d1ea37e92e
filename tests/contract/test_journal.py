"""What `plaudit.ports.journal` promises: the journals of the simulations, and those in files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from plaudit.adapters.journal import FileJournal, FileJournals
from plaudit.ports.cells import CellKey
from plaudit.ports.journal import Entry, Journal, Journals
from tests.simulation.journal import SimulatedJournal, SimulatedJournals

A, B = CellKey("a"), CellKey("b", 7)


class Machine(NamedTuple):
    """Where processes begin, and are killed, and what they leave behind."""

    begin: Callable[[], Journal]
    kill: Callable[[Journal], None]
    left: Journals

    async def entries(self) -> list[Entry]:
        """What is open in what was left behind."""
        adopted = await self.left.adopt()
        found = [entry for journal in adopted for entry in journal.entries]
        for journal in adopted:
            journal.release()
        return found


@pytest.fixture(params=["simulated", "files"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    if request.param == "simulated":
        folder = SimulatedJournals()

        def kill(journal: Journal) -> None:
            assert isinstance(journal, SimulatedJournal)
            journal.kill()

        return Machine(lambda: SimulatedJournal(folder), kill, folder)

    def close(journal: Journal) -> None:
        assert isinstance(journal, FileJournal)
        os.close(journal._file)  # as the kernel does with what a killed process had open

    return Machine(lambda: FileJournal(tmp_path).__enter__(), close, FileJournals(tmp_path))


async def test_what_was_begun_and_not_ended_is_left_behind_oldest_first(machine: Machine) -> None:
    journal = machine.begin()
    first = journal.begin(A, 3, ["ann", "bob"])
    journal.begin(B, 0, [])
    assert await machine.entries() == [], "its process lives"
    journal.end(first)
    journal.end(first)
    journal.begin(A, 4, {"ann": 1})
    machine.kill(journal)
    assert await machine.entries() == [Entry(B, 0, ()), Entry(A, 4, ("ann",))]


async def test_an_end_that_nothing_came_after_may_be_lost_with_the_process(machine: Machine) -> None:
    journal = machine.begin()
    journal.begin(A, 3, ["ann"])
    journal.end(journal.begin(B, 1, ["bob"]))
    machine.kill(journal)
    assert await machine.entries() in (
        [Entry(A, 3, ("ann",))],
        [Entry(A, 3, ("ann",)), Entry(B, 1, ("bob",))],
    )


async def test_proposals_of_one_cell_have_places_of_their_own(machine: Machine) -> None:
    journal = machine.begin()
    one, other = journal.begin(A, 3, ["ann"]), journal.begin(A, 3, ["ann"])
    assert one != other
    journal.end(one)
    journal.begin(B, 0, ["bob"])
    machine.kill(journal)
    assert await machine.entries() == [Entry(A, 3, ("ann",)), Entry(B, 0, ("bob",))]


async def test_one_adopts_until_it_drops_or_releases(machine: Machine) -> None:
    journal = machine.begin()
    journal.begin(A, 0, ["ann"])
    machine.kill(journal)
    [adopted] = await machine.left.adopt()
    assert await machine.entries() == [], "somebody has it"
    adopted.release()
    adopted.release()
    [adopted] = await machine.left.adopt()
    assert list(adopted.entries) == [Entry(A, 0, ("ann",))]
    adopted.drop()
    adopted.release()
    assert await machine.entries() == []


async def test_each_of_many_that_died_is_left(machine: Machine) -> None:
    lives, *dead = [machine.begin() for _ in range(3)]
    for n, journal in enumerate((lives, *dead)):
        journal.begin(A, n, ["ann"])
    for journal in dead:
        machine.kill(journal)
    assert sorted(await machine.entries()) == [Entry(A, 1, ("ann",)), Entry(A, 2, ("ann",))]
