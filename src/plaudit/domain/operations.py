"""Operation ids: how a row remembers its last taps, so that a repeated one is answered and not repeated.

A row keeps its last nine operations for at most 24 h, newest first, as one byte string of fixed-size records:

    8 bytes  operation id (BLAKE2b of the Idempotency-Key, or random)
    4 bytes  when, in seconds since the epoch, big-endian
    1 byte   what was asked: verb << 4 | reaction
    1 byte   what it did: outcome << 4 | previous reaction
"""

import struct
from hashlib import blake2b

ID_BYTES = 8
KEPT = 9
KEPT_FOR_S = 24 * 60 * 60

_RECORD = struct.Struct(">8sIBB")
_SIZE = _RECORD.size


def operation_id(key: bytes) -> bytes:
    """The 8-byte id of an Idempotency-Key. Its scope is one user and target, because it is kept in their row."""
    return blake2b(key, digest_size=ID_BYTES).digest()


def remember(ops: bytes, op: bytes, at_s: int, asked: int, did: int) -> bytes:
    """`ops` with this operation in front; what is too old or too many falls off the end."""
    kept = ops[: (KEPT - 1) * _SIZE]
    oldest = at_s - KEPT_FOR_S
    while kept and _RECORD.unpack_from(kept, len(kept) - _SIZE)[1] < oldest:
        kept = kept[:-_SIZE]
    return _RECORD.pack(op, at_s, asked, did) + kept


def recall(ops: bytes, op: bytes, now_s: int) -> tuple[int, int] | None:
    """`(asked, did)` of the operation, or None if it is not remembered or older than 24 h."""
    at = ops.find(op)
    while at != -1 and at % _SIZE:  # the same bytes across two records are no match
        at = ops.find(op, at + 1)
    if at == -1:
        return None
    _, at_s, asked, did = _RECORD.unpack_from(ops, at)
    return (asked, did) if at_s >= now_s - KEPT_FOR_S else None


def newest(ops: bytes) -> bytes:
    """The id of the operation that was remembered last. There must be one."""
    return ops[:ID_BYTES]


def recalls(ops: bytes, op: bytes) -> bool:
    """Whether the operation is remembered, however old it is."""
    return any(ops[at : at + ID_BYTES] == op for at in range(0, len(ops), _SIZE))


def remembered(ops: bytes) -> int:
    """How many operations are remembered."""
    return len(ops) // _SIZE
