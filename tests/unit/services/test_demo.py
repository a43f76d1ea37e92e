from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from plaudit.domain.catalogue import DEFAULT_REACTIONS, DEFAULT_TYPES, Catalogue
from plaudit.domain.cell import Verb
from plaudit.domain.errors import Invalid
from plaudit.domain.ids import target_id, user_id
from plaudit.domain.principal import Principal
from plaudit.ports.removals import Job, JobKind
from plaudit.services.commit import Committer
from plaudit.services.cursor import Cursors
from plaudit.services.demo import GRANT, HOST_APP, TARGETS, USERS, Demo
from plaudit.services.describe import Describe
from plaudit.services.near import NearCache
from plaudit.services.react import React
from plaudit.services.read import Read
from plaudit.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.stores import Stores, sqlite_stores
from tests.support.taps import LIKE, set_to

IDS = [target.id for target in TARGETS]


class Services(NamedTuple):
    demo: Demo
    react: React
    read: Read
    clock: ManualClock
    stores: Stores

    async def versions(self) -> dict[str, int]:
        return {id_: shown.seq for id_, shown in (await self.read.targets(HOST_APP, IDS)).items()}

    async def tap(self, user: str, target: str, reaction: str | None, *grants: str) -> str:
        who = Principal(user=user, grants=grants)
        return (await self.react.tap(who, user, target, Verb.SET, reaction, None, None)).outcome


def services(stores: Stores, clock: ManualClock, catalogue: Catalogue) -> Services:
    near = NearCache(stores.counters, catalogue, entries=1000, public=True)
    react = React(Committer(stores.ledger, near, clock, Metrics()), catalogue)
    read = Read(near, stores.own, stores.reactors, stores.directory, catalogue, Cursors(b"secret" * 8))
    describe = Describe(stores.directory, near, catalogue)
    return Services(Demo(describe, react, read, clock), react, read, clock, stores)


def running(kind: JobKind, subject: str) -> Job:
    return Job(id=f"{kind} {subject}", kind=kind, subject=subject, state="running", created_at=1)


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Services]:
    clock = ManualClock()
    async with sqlite_stores(tmp_path, clock) as stores:
        yield services(stores, clock, Catalogue())


def test_the_table_hangs_together() -> None:
    users = {user.id for user in USERS}
    assert 6 <= len(users) == len(USERS) <= 8
    assert len(set(IDS)) == len(TARGETS)
    assert all(user_id(user.id).startswith("demo-") and user.name for user in USERS)
    assert all(target_id(id_).startswith("demo:") for id_ in IDS)
    reactions = {reaction.name for reaction in DEFAULT_REACTIONS}
    for target in TARGETS:
        assert {target.author, *target.reactions} <= users
        assert target.author not in target.reactions, "nobody applauds themselves"
        assert set(target.reactions.values()) <= reactions
    types = [target.type for target in TARGETS]
    assert 4 <= types.count("post") <= 6
    assert set(types) == {"post", "comment", "message"}
    assert [target.type for target in TARGETS if target.closed] == ["post"]


def test_a_comment_is_younger_than_its_post_and_comes_after_it() -> None:
    for position, target in enumerate(TARGETS):
        if target.parent is not None:
            [parent] = [post for post in TARGETS[:position] if post.id == target.parent]
            assert target.age_min < parent.age_min


async def test_it_makes_users_targets_and_their_reactions(made: Services) -> None:
    await made.demo.prepare()
    profiles = await made.stores.directory.profiles([user.id for user in USERS])
    assert {id_: profile.name for id_, profile in profiles.items()} == {user.id: user.name for user in USERS}
    assert all(profile.avatar_url == f"/demo/avatars/{id_}.svg" for id_, profile in profiles.items())
    for target in TARGETS:
        page = await made.read.reactors(HOST_APP, target.id, None, None, 100)
        newest_first = [(user.id, reaction) for user, reaction, _ in page.reactors]
        assert newest_first == list(target.reactions.items())[::-1]
        registration = (await made.stores.target(target.id)).registration
        assert registration is not None
        assert (registration.owner, registration.title) == (target.author, target.title)
        assert registration.closed == target.closed


async def test_a_restart_changes_nothing(made: Services) -> None:
    made_at = await made.demo.prepare()
    assert await made.tap("demo-alice", "demo:bread", None) == "removed"
    before = await made.versions()
    made.clock.advance(3600)
    assert await made.demo.prepare() == made_at
    assert await made.versions() == before


async def test_a_stop_half_way_leaves_no_post_open_that_should_be_closed(made: Services) -> None:
    await made.stores.answer("demo:vote", set_to("demo-bob", LIKE))
    await made.demo.prepare()
    with pytest.raises(Invalid) as refused:
        await made.tap("demo-emi", "demo:vote", "like")
    assert refused.value.code == "target_closed"


async def test_the_closed_post_takes_removals_only(made: Services) -> None:
    await made.demo.prepare()
    with pytest.raises(Invalid) as refused:
        await made.tap("demo-alice", "demo:vote", "love")
    assert refused.value.code == "target_closed"
    assert await made.tap("demo-hugo", "demo:vote", None) == "removed"


async def test_the_message_needs_the_grant(made: Services) -> None:
    await made.demo.prepare()
    with pytest.raises(Invalid) as refused:
        await made.tap("demo-alice", "demo:message", "love")
    assert refused.value.code == "target_not_granted"
    assert await made.tap("demo-alice", "demo:message", "love", GRANT) == "created"


async def test_what_was_deleted_or_erased_stays_so(made: Services) -> None:
    await made.demo.prepare()
    await made.stores.removals.begin_purge("demo:bread", running("delete_target", "demo:bread"))
    await made.stores.removals.mark_erased("demo-bob", running("erase_user", "demo-bob"))
    before = await made.stores.target("demo:bread")
    await made.demo.prepare()
    assert await made.stores.target("demo:bread") == before
    assert "demo-bob" not in await made.stores.directory.profiles(["demo-bob"])


async def test_what_the_catalogue_lacks_is_left_out(tmp_path: Path) -> None:
    clock = ManualClock()
    no_haha = [reaction for reaction in DEFAULT_REACTIONS if reaction.name != "haha"]
    no_message = [type_ for type_ in DEFAULT_TYPES if type_.name != "message"]
    async with sqlite_stores(tmp_path, clock) as stores:
        made = services(stores, clock, Catalogue(no_haha, no_message))
        assert await made.demo.prepare() > 0
        page = await made.read.reactors(HOST_APP, "demo:bread", None, None, 100)
        assert {reaction for _, reaction, _ in page.reactors} == {"like", "love"}
        assert (await stores.target("demo:message")).header is None
