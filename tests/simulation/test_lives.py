"""Histories of targets that are deleted and registered again and again; `python -m tests.simulation` plays more."""

import logging
import os
from collections.abc import Iterator

import pytest

from tests.simulation.lives import live

HISTORIES = 14


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What goes wrong here goes wrong on purpose."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", [0, int.from_bytes(os.urandom(4), "big")], ids=["known", "fresh"])
def test_at_rest_everything_says_the_same(first: int) -> None:
    for seed in range(first, first + HISTORIES):
        assert live(seed) == [], f"python -m tests.simulation {seed} 1 lives"
