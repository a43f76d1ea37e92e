"""How headers, registrations, profiles and jobs lie in Cassandra: golden bytes, and what is not them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.adapters.cassandra.jobs import pack_job, unpack_job
from plaudit.adapters.cassandra.packed import (
    pack_header,
    pack_profile,
    pack_registration,
    unpack_header,
    unpack_profile,
    unpack_registration,
)
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header
from plaudit.domain.errors import Corrupt
from plaudit.ports.directory import Profile
from plaudit.ports.removals import Job

HEADER = Header(7, "post", (2, 1), 3, 1_760_000_000_000_002, 1_760_000_000_000_000, (("ann", 2),), 0)
PROFILE = Profile(name="Ann", locale="de-CH")
JOB = Job(
    id="j1",
    kind="erase_user",
    subject="ann",
    state="done",
    created_at=5,
    finished_at=9,
    removed={"rows": 3},
    note="x",
)
REGISTRATION = Registration(type="post", owner="olga", title=None, closed=True, allowed=6)


def test_golden_bytes_of_a_header() -> None:
    assert pack_header(HEADER).hex() == (
        "98a96865616465722e7631a4706f737492020103cf000640b5eece0002cf000640b5eece00009192a3616e6e0200"
    )
    assert unpack_header(pack_header(HEADER), 7, None) == HEADER


def test_golden_bytes_of_a_registration() -> None:
    assert (
        pack_registration(REGISTRATION).hex()
        == "96af726567697374726174696f6e2e7631a4706f7374a46f6c6761c0c306"
    )
    assert unpack_registration(pack_registration(REGISTRATION)) == REGISTRATION
    assert unpack_registration(None) is None


def test_golden_bytes_of_a_profile() -> None:
    assert pack_profile(PROFILE).hex() == "95aa70726f66696c652e7631a3416e6ec0a564652d4348c0"
    assert unpack_profile(pack_profile(PROFILE)) == PROFILE
    assert unpack_profile(None) is None


def test_golden_bytes_of_a_job() -> None:
    fields = "a66a6f622e7631a26a31aa65726173655f75736572a3616e6ea4646f6e65050981a4726f777303a178"
    assert pack_job(JOB).hex() == f"9b{fields}c3c0"
    assert unpack_job(pack_job(JOB)) == JOB
    closed = msgspec.structs.replace(JOB, begun_at=7)
    assert pack_job(closed).hex() == f"9b{fields}c307"
    assert unpack_job(pack_job(closed)) == closed
    assert unpack_job(bytes.fromhex(f"9a{fields}c3")) == JOB, "stored before it said since when"
    assert unpack_job(bytes.fromhex(f"99{fields}")) == JOB, "stored before it said whether it is begun"


def test_what_a_newer_version_appended_is_passed_over() -> None:
    fields = [*msgspec.msgpack.decode(pack_header(HEADER)), [], [], 0, "new"]
    assert unpack_header(msgspec.msgpack.encode(fields), 7, None) == HEADER


def test_lanes_are_a_column_of_their_own() -> None:
    assert [unpack_header(pack_header(HEADER), 7, lanes).lanes for lanes in (None, 64)] == [1, 64]


@given(st.binary(max_size=60))
def test_anything_else_is_corrupt(body: bytes) -> None:
    for unpack in (
        lambda: unpack_header(body, 1, None),
        lambda: unpack_registration(body),
        lambda: unpack_profile(body),
        lambda: unpack_job(body),
    ):
        with pytest.raises(Corrupt):
            unpack()


def test_golden_bytes_of_a_lane() -> None:
    lane = Header(7, "post", (-1,), 0, 9, 5, (("ann", 2),), 0, 64, recent_at=(8,), erased=(0, 1))
    assert pack_header(lane).hex() == "9aa96865616465722e7631a4706f737491ff0009059192a3616e6e02009108920001"
    assert unpack_header(pack_header(lane), 7, 64) == lane


def test_golden_bytes_of_a_target_that_is_there_again() -> None:
    again = msgspec.structs.replace(HEADER, deleted_at=7)
    assert pack_header(again).hex() == "9b" + pack_header(HEADER).hex()[2:] + "909007"
    assert unpack_header(pack_header(again), 7, None) == again
