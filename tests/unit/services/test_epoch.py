"""Whether a store may have forgotten something, asked again and again."""

import asyncio

import pytest

from plaudit.services import epoch
from plaudit.services.epoch import Watched


async def test_a_change_counts_from_when_it_had_not_happened_yet(anyio_backend: str) -> None:
    now = 1

    async def ask() -> object:
        return now

    watched = Watched(ask)
    assert await watched.changed(10.0) is None, "the first answer is no change"
    assert await watched.changed(11.0) is None
    now = 2
    assert await watched.changed(12.0) == 11.0
    assert await watched.changed(13.0) is None


async def test_what_is_not_to_be_seen_may_have_changed(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch, "ASK_S", 0.01)
    answers: list[object] = [1, None, TimeoutError("late"), KeyError("odd"), 1, 1]

    async def ask() -> object:
        answer = answers.pop(0)
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    watched = Watched(ask)
    assert await watched.changed(10.0) is None
    for now_s in (11.0, 12.0, 13.0):
        assert await watched.changed(now_s) == 10.0, "since it was last seen"
        assert not watched.clear
    assert await watched.changed(14.0) == 10.0, "seen again, and nobody knows what happened meanwhile"
    assert watched.clear
    assert await watched.changed(15.0) is None
