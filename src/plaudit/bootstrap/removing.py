"""Builds deletion and erasure in the cluster: for API processes, which begin jobs, and whoever goes on with them."""

import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from plaudit.adapters.cassandra import CassandraLeases
from plaudit.bootstrap.engines import Engines
from plaudit.bootstrap.letters import Letters
from plaudit.ports.clock import Clock
from plaudit.services.alter import Alter
from plaudit.services.caught_up import CaughtUp
from plaudit.services.directory import CellDirectory
from plaudit.services.follow import Follow
from plaudit.services.near import NearCache
from plaudit.services.removals import CellRemovals
from plaudit.services.remove import UNDER_WAY_S, Remove
from plaudit.telemetry import Metrics


class Removing(NamedTuple):
    """The directory, what takes things away, the jobs that do, and what brings lanes in step with their root."""

    directory: CellDirectory
    removals: CellRemovals
    remove: Remove
    follow: Follow


@asynccontextmanager
async def removing(
    held: Engines,
    letters: Letters,
    near: NearCache,
    clock: Clock,
    metrics: Metrics,
    look_every_s: float | None = None,
) -> AsyncIterator[Removing]:
    """`look_every_s`: also carry out jobs that other processes left behind.

    Two of these may be in one process (`serve --all`), so each claims jobs under a name of its own.
    """
    alter = Alter(
        held.cells, held.publish, clock, random.SystemRandom(), held.guard.trusted, note=letters.owners.note
    )
    directory = CellDirectory(alter, held.users, held.users, clock)
    held.noticed.append(directory.forget)

    async def forget(user: str) -> None:
        directory.forget(user)
        await held.mine.forget([user])
        await letters.forget(user)

    removals = CellRemovals(
        alter,
        held.cells,
        held.cells,
        held.publish,
        held.jobs,
        held.users,
        held.lists,
        clock,
        caught_up=CaughtUp(held.debts, held.publish.readable, held.indexed, clock),
        forget=[forget],
        take_back=letters.take_back,
        trusted=held.guard.trusted,
    )
    try:
        async with (
            CassandraLeases(held.session, secrets.token_hex(8)) as leases,
            Remove(removals, held.jobs, near, clock, metrics, leases, look_every_s, UNDER_WAY_S) as remove,
        ):
            yield Removing(directory, removals, remove, Follow(alter))
    finally:
        await alter.drain()
