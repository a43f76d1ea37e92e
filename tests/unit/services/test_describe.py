"""Describe: what is shown of a target after it was registered, or may have been."""

from pathlib import Path

import pytest

from plaudit.domain.catalogue import Catalogue, Registration
from plaudit.domain.errors import OutcomeUnknown
from plaudit.ports.ledger import Target
from plaudit.services.describe import Describe, TargetDescription
from plaudit.services.near import NearCache
from tests.support.clock import ManualClock
from tests.support.stores import sqlite_stores


async def test_a_registration_of_which_nobody_knows_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sqlite_stores(tmp_path, ManualClock()) as stores:
        near = NearCache(stores.counters, Catalogue(), entries=9, public=True)
        describe = Describe(stores.directory, near, Catalogue())
        await describe.target("t", TargetDescription())
        register = stores.directory.register

        async def silent(target: str, registration: Registration, kept: tuple[str, ...] = ()) -> Target:
            await register(target, registration, kept)
            raise OutcomeUnknown("no answer")

        monkeypatch.setattr(stores.directory, "register", silent)
        with pytest.raises(OutcomeUnknown):
            await describe.target("t", TargetDescription(closed=True))
        assert (await near.load(["t"]))["t"].closed
