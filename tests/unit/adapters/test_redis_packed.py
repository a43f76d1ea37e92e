"""How a target is stored in Redis: the bytes of version 1, and what becomes of anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.adapters.redis.packed import NOTHING, pack, unpack
from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header
from plaudit.domain.errors import Corrupt
from plaudit.ports.ledger import Target

HEADER = Header(258, "post", (2, 0, 300), 7, 0, 5, (("ada", 1), ("bob", 3)), 0, 64)
GOLDEN = bytes.fromhex(
    "01 0000000000000102 98 a4706f7374 93 02 00 cd012c 07 05 92 92a3616461 01 92a3626f62 03 00 40 c0"
)


def test_the_bytes_of_version_1() -> None:
    assert pack(HEADER, None) == GOLDEN
    assert unpack(GOLDEN) == Target(HEADER)
    assert bytes([1] + [0] * 8) == NOTHING
    assert unpack(NOTHING) == Target()


def test_a_cell_of_a_split_target_keeps_since_when_they_react() -> None:
    lane = Header(3, "post", (-1,), 0, 0, 5, (("ada", 1),), 0, 64, recent_at=(9,))
    assert unpack(pack(lane, None)) == Target(lane)


def test_a_registration_is_kept_whole() -> None:
    registration = Registration(type="message", owner="auth0|5f", title="Grüße 🐈", closed=True, allowed=6)
    assert unpack(pack(HEADER, registration)) == Target(HEADER, registration)
    assert unpack(pack(HEADER, Registration(type="post"))) == Target(HEADER, Registration(type="post"))


def test_a_newer_writer_may_append_fields() -> None:
    longer = bytearray(GOLDEN)
    longer[9] += 2
    assert unpack(bytes(longer) + b"\x90\xa3new") == Target(HEADER)


def test_bytes_order_as_versions_do() -> None:
    packed = [pack(Header(seq=seq), None) for seq in (1, 255, 256, 2**32, 2**53, 2**53 + 1, 2**63)]
    assert packed == sorted(packed)


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x02" + GOLDEN[1:], GOLDEN[:-1], GOLDEN[:9], b"?" * 40])
def test_anything_else_is_corrupt(body: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(body)


@given(st.binary(max_size=60), st.sampled_from([b"", GOLDEN[:9], GOLDEN[:12]]))
def test_no_bytes_raise_anything_but_corrupt(body: bytes, front: bytes) -> None:
    try:
        unpack(front + body)
    except Corrupt:
        pass
