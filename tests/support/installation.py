"""An installation with a past, and what an export of it has to give again."""

import random
from pathlib import Path
from typing import Any

import apsw

from plaudit.domain.catalogue import Registration
from plaudit.ports.directory import Profile
from plaudit.ports.removals import Job, JobKind
from tests.support.clock import ManualClock
from tests.support.stores import Stores
from tests.support.taps import ALL, cell, set_to, toggle

TARGETS = [f"t{n}" for n in range(60)]
USERS = [f"u{n}" for n in range(40)]


def job(kind: JobKind, subject: str) -> Job:
    return Job(id=f"{kind}-{subject}", kind=kind, subject=subject, state="running", created_at=1)


async def live(stores: Stores, clock: ManualClock, chance: random.Random) -> None:
    """A random life of an installation, through the ledger."""
    for n, target in enumerate(TARGETS[:20]):
        registration = Registration(type=chance.choice(["post", "comment"]), owner=f"o{n}", closed=n % 5 == 0)
        await stores.directory.register(target, registration)
    for user in USERS[::3]:
        await stores.directory.put_profile(user, Profile(name=f"Name of {user}", locale="en"))
    for _ in range(150):
        clock.advance(chance.random() * 3600)
        taps = toggle if chance.random() < 0.5 else set_to
        await stores.ledger.commit(
            [
                cell(target, *(taps(user, chance.choice(ALL)) for user in chance.sample(USERS, 4)))
                for target in chance.sample(TARGETS, 3)
            ]
        )
    for user in chance.sample(USERS, 3):
        await stores.removals.mark_erased(user, job("erase_user", user))
        while chance.random() < 0.9 and await stores.removals.erase_some(user, 5):
            pass
    for target in chance.sample(TARGETS, 6):
        await stores.removals.begin_purge(target, job("delete_target", target))
        if chance.random() < 0.7:
            while await stores.removals.purge_some(target, 10):
                pass
    await stores.directory.register(TARGETS[-1], Registration(type="post", title="again"))


def content(folder: Path) -> dict[str, Any]:
    """What an import of an export has to give again."""
    connection = apsw.Connection(str(folder / "plaudit.db"), flags=apsw.SQLITE_OPEN_READONLY)
    erased = {id_ for (id_,) in connection.execute("SELECT id FROM user WHERE erased_at IS NOT NULL")}
    rows = connection.execute(
        "SELECT t.id, r.user, r.reaction, r.created_at, r.age"
        " FROM reaction_row AS r JOIN target AS t ON t.no = r.target WHERE t.deleted = 0"
    )
    targets = connection.execute(
        "SELECT id, type, deleted > 0, registered, owner, title, closed, allowed, seq FROM target"
    )
    found: dict[str, Any] = {
        "rows": {(t, u): tuple(rest) for t, u, *rest in rows if u not in erased},
        "targets": {id_: tuple(rest) for id_, *rest in targets},
        "users": {id_: tuple(rest) for id_, *rest in connection.execute("SELECT * FROM user")},
    }
    found["counts"] = {}
    for (target, _), (reaction, *_) in found["rows"].items():
        if reaction:
            key = (target, reaction)
            found["counts"][key] = found["counts"].get(key, 0) + 1
    connection.close(True)
    return found
