"""How messages lie in Cassandra, what numbers pushes have, and how processes share them."""

import msgspec
import pytest

from plaudit.adapters.cassandra.notices import pack_message, unpack_message
from plaudit.adapters.cassandra.pushes import SHARDS, hour_of, new_line
from plaudit.adapters.cassandra.shares import fair
from plaudit.domain.errors import Corrupt
from tests.support.clock import START_US
from tests.support.notifying import message

GOLDEN = bytes.fromhex("97aa6d6573736167652e7631a174a4706f7374c0028101029292a3616e6e0192a3626f6202")


def test_a_message_is_stored_in_these_bytes() -> None:
    told = message("id", "owner", 7, ("ann", 1), ("bob", 2))
    assert pack_message(told) == GOLDEN
    assert unpack_message(GOLDEN, "owner", 7, "id") == told


def test_what_a_newer_version_appended_is_passed_over() -> None:
    body = msgspec.msgpack.encode([*msgspec.msgpack.decode(GOLDEN), "new"])
    assert unpack_message(body, "owner", 7, "id").total == 2


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91\xa1x", GOLDEN[:-1]])
def test_what_cannot_be_read_is_corrupt(body: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack_message(body, "owner", 7, "id")


def test_numbers_of_pushes_grow_with_time_and_say_the_hour() -> None:
    told = message("id")
    early, late = (new_line(told, "webhook", "", at) for at in (START_US, START_US + 1_000_000))
    assert 0 < early.no < late.no < 1 << 63
    assert hour_of(early.no) == START_US // 3_600_000_000
    assert new_line(told, "fcm", "d", START_US).no != early.no
    assert new_line(told, "webhook", "", START_US) == early
    assert early.place.shard in range(SHARDS)


def shared(processes: list[str], rounds: int = 6) -> dict[int, str]:
    """Who has which shard after some rounds, each process in its turn."""
    owners: dict[int, str] = {}
    for _ in range(rounds):
        for me in processes:
            wanted = fair(owners, set(processes), me)
            owners = {shard: owner for shard, owner in owners.items() if shard not in wanted.give}
            owners |= dict.fromkeys(wanted.take, me)
    return owners


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 20])
def test_every_shard_is_held_and_nobody_has_more_than_a_fair_share(count: int) -> None:
    processes = [f"p{n}" for n in range(count)]
    owners = shared(processes)
    assert owners.keys() == set(range(SHARDS))
    most = -(-SHARDS // count)
    assert max(list(owners.values()).count(process) for process in processes) <= most


def test_who_comes_gets_a_share_and_of_who_goes_the_others_do() -> None:
    alone = fair({}, set(), "a")
    assert (len(alone.take), alone.give) == (SHARDS, [])
    crowded = fair(dict.fromkeys(range(SHARDS), "a"), {"a", "b"}, "a")
    assert (len(crowded.keep), len(crowded.give), crowded.take) == (SHARDS // 2, SHARDS // 2, [])
    left = fair(dict.fromkeys(crowded.keep, "a"), {"a"}, "a")
    assert sorted([*left.keep, *left.take]) == list(range(SHARDS))
