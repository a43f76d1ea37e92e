"""What `plaudit.ports.directory.Directory` promises."""

import asyncio
from collections.abc import Collection
from typing import Any

import msgspec
import pytest

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Answer, Deleted, Outcome, Refused, Tap, Verb
from plaudit.domain.errors import Conflict
from plaudit.domain.events import decode
from plaudit.ports.directory import Profile
from plaudit.ports.ledger import Target
from plaudit.ports.removals import Job
from tests.support.stores import Stores
from tests.support.taps import LIKE, LOVE, NONE, WOW, toggle

ODD = "Zoë \U0001f44d \"quoted\" 'single' \\back\n\t\u0000 \u2028 end"

PROFILES = ("sqlite", "cassandra")
pytestmark = pytest.mark.timeout(120)


def deletion(target: str) -> Job:
    return Job(id=f"j-{target}", kind="delete_target", subject=target, state="running", created_at=1)


def partly(**told: Any) -> tuple[Registration, Collection[str]]:
    """What is told of a target, and the names of what is left out."""
    kept = set(Registration.__struct_fields__) - set(told)
    return Registration(**{"type": "post", **told}), kept


async def test_registering_makes_the_target_known(stores: Stores) -> None:
    registration = Registration(type="comment", owner="olga", title=ODD, closed=False, allowed=0b1010)
    returned = await stores.directory.register("t", registration)
    assert returned.registration == registration
    assert returned.header is not None
    assert (returned.header.seq, returned.header.type, returned.header.total) == (1, "comment", 0)
    await stores.settle()
    assert await stores.target("t") == returned


async def test_the_same_registration_again_changes_nothing(stores: Stores) -> None:
    registration = Registration(type="post", owner="olga")
    first = await stores.directory.register("t", registration)
    assert await stores.directory.register("t", registration) == first
    assert {decode(body).seq for _, body in await stores.log.read("test", 10)} == {1}, (
        "published again perhaps"
    )


async def test_every_change_of_a_registration_is_a_commit(stores: Stores) -> None:
    seqs = []
    for registration in (
        Registration(type="post"),
        Registration(type="post", owner="olga"),
        Registration(type="post", owner="olga", closed=True),
        Registration(type="comment", allowed=2),
        Registration(type="post"),
    ):
        target = await stores.directory.register("t", registration)
        assert target.registration == registration
        assert target.header is not None
        assert target.header.type == registration.type
        seqs.append(target.header.seq)
        await stores.settle()
        assert await stores.target("t") == target
    assert seqs == [1, 2, 3, 4, 5]
    assert [decode(body).seq for _, body in await stores.log.read("test", 10)] == seqs


EVERYTHING = Registration(type="message", owner="olga", title=ODD, closed=False, allowed=0b1010)


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        ({"closed": True}, {"closed": True}),
        ({"owner": None}, {"owner": None}),
        ({"title": None, "allowed": None}, {"title": None, "allowed": None}),
        ({"type": "comment"}, {"type": "comment"}),
        ({}, {}),
    ],
    ids=str,
)
async def test_what_is_kept_stays_as_it_is_registered(
    stores: Stores, told: dict[str, Any], stored: dict[str, Any]
) -> None:
    first = await stores.directory.register("t", EVERYTHING)
    assert first.header is not None
    target = await stores.directory.register("t", *partly(**told))
    assert target.registration == msgspec.structs.replace(EVERYTHING, **stored)
    assert target.header is not None
    assert (target.header.type, target.header.seq) == (target.registration.type, 2 if stored else 1)
    assert await stores.directory.registered("t") == target


async def test_a_part_of_a_registration_begins_with_the_type_that_the_target_has(stores: Stores) -> None:
    new = await stores.directory.register("new", *partly(closed=True))
    assert new.registration == Registration(type="post", closed=True)
    await stores.tap("t", Tap("ann", Verb.TOGGLE, LIKE, b"0" * 16, target_type="comment"))
    target = await stores.directory.register("t", *partly(closed=True))
    assert target.registration == Registration(type="comment", closed=True)


async def test_two_who_each_tell_a_part_undo_nothing_of_each_other(stores: Stores) -> None:
    await stores.directory.register("t", EVERYTHING)
    await asyncio.gather(
        stores.directory.register("t", *partly(closed=True)),
        stores.directory.register("t", *partly(owner="other")),
        stores.directory.register("t", *partly(title=None)),
    )
    expected = msgspec.structs.replace(EVERYTHING, closed=True, owner="other", title=None)
    assert (await stores.directory.registered("t")).registration == expected


async def test_what_is_registered_can_be_read(stores: Stores) -> None:
    assert await stores.directory.registered("t") == Target()
    told = await stores.directory.register("t", EVERYTHING)
    assert await stores.directory.registered("t") == told
    tapped = await stores.tap("u", toggle("ann"))
    assert await stores.directory.registered("u") == tapped.target
    await stores.removals.begin_purge("t", deletion("t"))
    assert (await stores.directory.registered("t")).registration is None


async def test_registering_keeps_what_was_tapped(stores: Stores) -> None:
    await stores.tap("t", toggle("ann", LIKE), toggle("bob", LOVE))
    target = await stores.directory.register("t", Registration(type="post", owner="olga"))
    assert target.header is not None
    assert (target.header.seq, target.header.counts, target.header.rows) == (2, (1, 1), 2)
    result = await stores.tap("t", toggle("ann", WOW))
    assert result.answers == [Answer(Outcome.SWITCHED, LIKE, WOW)]
    assert result.target.registration == target.registration
    assert result.target.header is not None
    assert result.target.header.seq == 3


async def test_taps_keep_to_the_registration(stores: Stores) -> None:
    await stores.directory.register("t", Registration(type="post", allowed=1 << LOVE))
    result = await stores.tap("t", toggle("ann", LIKE), toggle("bob", LOVE))
    assert result.answers == [Refused("reaction_not_allowed"), Answer(Outcome.CREATED, NONE, LOVE)]
    await stores.directory.register("t", Registration(type="post", closed=True))
    result = await stores.tap("t", toggle("ann", LIKE))
    assert result.answers == [Refused("target_closed")]


async def test_a_target_that_is_being_purged_cannot_be_registered(stores: Stores) -> None:
    await stores.tap("t", toggle("ann"), toggle("bob"))
    closed = await stores.removals.begin_purge("t", deletion("t"))
    with pytest.raises(Conflict):
        await stores.directory.register("t", Registration(type="post"))
    assert await stores.removals.purge_some("t", 1) == 1
    with pytest.raises(Conflict):
        await stores.directory.register("t", Registration(type="post"))
    assert closed.header is not None
    await stores.settle()
    after = await stores.target("t")
    assert after.header is not None
    assert (after.registration, after.header.deleted) == (None, Deleted.PURGING)


async def test_a_purged_target_registered_again_continues_its_seq(stores: Stores) -> None:
    registration = Registration(type="comment", owner="olga")
    await stores.directory.register("t", registration)
    await stores.tap("t", toggle("ann"), toggle("bob"))
    await stores.removals.begin_purge("t", deletion("t"))
    while await stores.removals.purge_some("t", 10):
        pass
    await stores.settle()
    purged = (await stores.target("t")).header
    assert purged is not None
    again = await stores.directory.register("t", registration)
    assert again.header is not None
    assert (again.header.seq, again.header.deleted, again.header.rows) == (purged.seq + 1, Deleted.NO, 0)
    result = await stores.tap("t", toggle("ann", LOVE))
    assert result.answers == [Answer(Outcome.CREATED, NONE, LOVE)]
    assert await stores.counts("t") == (0, 1)
    seqs = [decode(body).seq for _, body in await stores.log.read("test", 100)]
    assert seqs == sorted(seqs)
    assert set(seqs) == set(range(1, seqs[-1] + 1))


async def test_profiles_are_kept_and_replaced_whole(stores: Stores) -> None:
    profile = Profile(
        name=ODD, avatar_url="https://example.com/a.png", locale="de-CH", time_zone="Europe/Zurich"
    )
    for _ in range(2):
        await stores.directory.put_profile("ann", profile)
    assert await stores.directory.profiles(["ann"]) == {"ann": profile}
    await stores.directory.put_profile("ann", Profile(locale="fr"))
    assert await stores.directory.profiles(["ann"]) == {"ann": Profile(locale="fr")}


async def test_only_profiles_that_exist_are_found(stores: Stores) -> None:
    for n in range(300):
        await stores.directory.put_profile(f"u{n}", Profile(name=f"User {n}"))
    asked = [f"u{n}" for n in range(100, 400)] + ["u100"]
    found = await stores.directory.profiles(asked)
    assert found == {f"u{n}": Profile(name=f"User {n}") for n in range(100, 300)}
    assert await stores.directory.profiles([]) == {}


async def test_an_erased_user_has_no_profile_and_gets_none(stores: Stores) -> None:
    await stores.directory.put_profile("ann", Profile(name="Ann"))
    await stores.removals.mark_erased(
        "ann", Job(id="j", kind="erase_user", subject="ann", state="running", created_at=1)
    )
    assert await stores.directory.profiles(["ann"]) == {}
    with pytest.raises(Conflict):
        await stores.directory.put_profile("ann", Profile(name="Ann again"))
    assert await stores.directory.profiles(["ann"]) == {}
