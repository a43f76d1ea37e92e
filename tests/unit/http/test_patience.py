"""Patience: bodies that come are read, those that do not are given up, and one timer serves all of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from plaudit.domain.errors import Invalid
from plaudit.http.bodies import Patience

JSON = b"application/json"
WITHIN_S = 0.02


def comes(body: bytes) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    return receive


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_body_that_comes_is_read_and_forgotten() -> None:
    patience = Patience(WITHIN_S)
    assert await patience.read(comes(b"{}"), JSON, b"2") == b"{}"
    assert not patience._reading


async def test_bodies_that_do_not_come_are_given_up_each_in_time() -> None:
    patience, loop = Patience(WITHIN_S), asyncio.get_running_loop()

    async def wait() -> float:
        started = loop.time()
        with pytest.raises(Invalid) as refused:
            await patience.read(never, JSON, b"2")
        assert refused.value.code == "invalid_json"
        return loop.time() - started

    waiting = []
    for _ in range(5):
        waiting.append(asyncio.create_task(wait()))
        await patience.read(comes(b"{}"), JSON, b"2")
        await asyncio.sleep(WITHIN_S / 4)
    assert all(seconds > WITHIN_S * 0.9 for seconds in await asyncio.gather(*waiting))
    assert not patience._reading
    assert not patience._late


async def test_a_task_that_gave_up_one_body_can_read_the_next() -> None:
    patience = Patience(WITHIN_S)
    for _ in range(2):
        with pytest.raises(Invalid):
            await patience.read(never, JSON, None)
        assert await patience.read(comes(b"[]"), JSON, None) == b"[]"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_is_cancelled_by_somebody_else_stays_cancelled() -> None:
    patience = Patience(60.0)
    task = asyncio.create_task(patience.read(never, JSON, None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not patience._reading
