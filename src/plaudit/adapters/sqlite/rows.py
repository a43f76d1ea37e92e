"""How cells look in the file: the statements that read and write many of them at once.

Every statement here is one step of SQLite however many rows it moves. That matters: each step gives up the
interpreter lock and has to win it back, which under load costs more than the step.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import apsw
import msgspec

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Header, Row
from plaudit.ports.ledger import Target

Value = str | int | bytes | None
WriteRow = tuple[int, str, int, int, int, bytes | None, int]

LISTED_ABOVE = 256  # rows; only bigger targets have theirs in the index `reactor` (migration 0003)

AT_ONCE = 4096  # keys in one statement; SQLite binds at most 32,766 values


class StoredTarget(msgspec.Struct, array_like=True, frozen=True):
    """A line of the table `target`."""

    no: int
    id: str
    seq: int
    type: str
    counts: tuple[int, ...]
    rows: int
    last_at: int
    born: int
    recent: tuple[tuple[str, int], ...]
    deleted: int
    registered: int
    owner: str | None
    title: str | None
    closed: int
    allowed: int | None

    @property
    def header(self) -> Header:
        """The header of the target's cell."""
        return Header(
            self.seq, self.type, self.counts, self.rows, self.last_at, self.born, self.recent, self.deleted
        )

    @property
    def registration(self) -> Registration | None:
        """The registration, if there is one."""
        if not self.registered:
            return None
        return Registration(
            type=self.type, owner=self.owner, title=self.title, closed=bool(self.closed), allowed=self.allowed
        )

    @property
    def target(self) -> Target:
        """Both, as the ports know them."""
        return Target(self.header, self.registration)


_targets = msgspec.json.Decoder(list[StoredTarget])
_one_target = msgspec.json.Decoder(StoredTarget)
_cell_rows = msgspec.json.Decoder(list[tuple[str, str, int, int, int, str]])
_rows = msgspec.json.Decoder(list[tuple[int, str, int, int, int, str]])
_strings = msgspec.json.Decoder(list[str])
_json = msgspec.json.Encoder()
_pack = msgspec.msgpack.Encoder().encode

EVENTS_PER_LINE = 1024

_TARGET = (
    "json_array(no, id, seq, type, json(counts), rows, last_at, born, json(recent), deleted,"
    " registered, owner, title, closed, allowed)"
)


@cache
def _marks(one: str, count: int) -> str:
    return ",".join([one] * count)


def _padded(values: Sequence[Value], width: int = 1) -> Iterator[list[Value]]:
    """Repeat the last of `values` up to a power of two, so that few different statements are ever prepared.

    Whatever is more than one statement can bind comes in a further list.
    """
    for start in range(0, len(values), AT_ONCE * width):
        part = values[start : start + AT_ONCE * width]
        count = len(part) // width
        size = 1 << (count - 1).bit_length()
        yield [*part, *list(part[-width:]) * (size - count)]


def read_targets(connection: apsw.Connection, ids: Sequence[str]) -> dict[str, StoredTarget]:
    """The lines of these targets that exist."""
    found: dict[str, StoredTarget] = {}
    for padded in _padded(ids):
        sql = f"SELECT json_group_array({_TARGET}) FROM target WHERE id IN ({_marks('?', len(padded))})"  # noqa: S608 - marks
        found.update((t.id, t) for t in _targets.decode(connection.execute(sql, padded).get))
    return found


def all_targets(connection: apsw.Connection) -> Iterator[StoredTarget]:
    """Every line, by number, one step each."""
    for (line,) in connection.execute(f"SELECT {_TARGET} FROM target ORDER BY no"):  # noqa: S608 - a constant
        yield _one_target.decode(line)


def read_cells(
    connection: apsw.Connection, keys: Sequence[tuple[str, str]]
) -> tuple[dict[str, StoredTarget], set[str], dict[tuple[str, str], Row]]:
    """What taps of these (target, user) touch: the targets that exist, which of the users are erased, and the rows.

    One statement, so one step, however many there are.
    """
    targets: dict[str, StoredTarget] = {}
    erased: set[str] = set()
    rows: dict[tuple[str, str], Row] = {}
    for padded in _padded([value for key in keys for value in key], 2):
        ((lines, gone, found),) = connection.execute(_cells(len(padded) // 2), padded).fetchall()
        targets.update((t.id, t) for t in _targets.decode(str(lines)))
        erased.update(_strings.decode(str(gone)))
        for target, user, reaction, created_at, age, ops in _cell_rows.decode(str(found)):
            rows[target, user] = Row(reaction, created_at, created_at + age, bytes.fromhex(ops))
    return targets, erased, rows


@cache
def _cells(count: int) -> str:
    targets = ",".join(f"?{2 * n + 1}" for n in range(count))
    users = ",".join(f"?{2 * n + 2}" for n in range(count))
    pairs = ",".join(f"(?{2 * n + 1},?{2 * n + 2})" for n in range(count))
    return (
        f"SELECT (SELECT json_group_array({_TARGET}) FROM target WHERE id IN ({targets})),"  # noqa: S608 - marks
        f" (SELECT json_group_array(id) FROM user WHERE erased_at IS NOT NULL AND id IN ({users})),"
        " (SELECT json_group_array(json_array(t.id, r.user, r.reaction, r.created_at, r.age, hex(r.ops)))"
        f" FROM (VALUES {pairs}) AS k CROSS JOIN target AS t ON t.id = k.column1"
        " CROSS JOIN reaction_row AS r ON r.target = t.no AND r.user = k.column2)"
    )


def read_rows(connection: apsw.Connection, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Row]:
    """The rows of these (target number, user) that exist."""
    found: dict[tuple[int, str], Row] = {}
    for padded in _padded([value for key in keys for value in key], 2):
        sql = (
            "SELECT json_group_array(json_array(r.target, r.user, r.reaction, r.created_at, r.age, hex(r.ops)))"  # noqa: S608 - marks
            f" FROM (VALUES {_marks('(?,?)', len(padded) // 2)}) AS k"
            " CROSS JOIN reaction_row AS r ON r.target = k.column1 AND r.user = k.column2"
        )
        for no, user, reaction, created_at, age, ops in _rows.decode(connection.execute(sql, padded).get):
            found[no, user] = Row(reaction, created_at, created_at + age, bytes.fromhex(ops))
    return found


def read_strings(connection: apsw.Connection, sql: str, values: Sequence[str]) -> list[str]:
    """Run `sql`, which aggregates one column into a JSON array and has `{}` where the marks go."""
    found: list[str] = []
    for padded in _padded(values):
        found += _strings.decode(connection.execute(sql.format(_marks("?", len(padded))), padded).get)
    return found


def write_headers(connection: apsw.Connection, headers: Iterable[tuple[int, str, Header]]) -> None:
    """Insert or replace the headers of these (number, id) targets; registrations stay as they are."""
    _write_many(
        connection,
        "INSERT INTO target (no, id, seq, type, counts, rows, last_at, born, recent, deleted) VALUES",
        "(?,?,?,?,?,?,?,?,?,?)",
        " ON CONFLICT (no) DO UPDATE SET seq = excluded.seq, type = excluded.type, counts = excluded.counts,"
        " rows = excluded.rows, last_at = excluded.last_at, born = excluded.born, recent = excluded.recent,"
        " deleted = excluded.deleted",
        [
            (
                no,
                target,
                h.seq,
                h.type,
                _json.encode(h.counts).decode(),
                h.rows,
                h.last_at,
                h.born,
                _json.encode(h.recent).decode(),
                int(h.deleted),
            )
            for no, target, h in headers
        ],
    )


def write_rows(connection: apsw.Connection, rows: Iterable[WriteRow]) -> None:
    """Insert or replace rows given as (target number, user, reaction, created_at, age, ops, listed).

    After the headers: what makes a target big lists the rows that it has already.
    """
    _write_many(
        connection,
        "INSERT INTO reaction_row (target, user, reaction, created_at, age, ops, listed) VALUES",
        "(?,?,?,?,?,?,?)",
        " ON CONFLICT (target, user) DO UPDATE SET reaction = excluded.reaction, created_at = excluded.created_at,"
        " age = excluded.age, ops = excluded.ops, listed = excluded.listed",
        list(rows),
    )


def write_events(connection: apsw.Connection, bodies: Sequence[bytes]) -> None:
    """Append encoded events, in this order: one line for the events of a transaction (see `log`)."""
    for start in range(0, len(bodies), EVENTS_PER_LINE):
        part = bodies[start : start + EVENTS_PER_LINE]
        line = (len(part), _pack(part))
        connection.execute("INSERT INTO event (events, bodies) VALUES (?, ?)", line)


def _write_many(
    connection: apsw.Connection,
    head: str,
    marks: str,
    tail: str,
    lines: Sequence[tuple[Value, ...]],
) -> None:
    """As few statements as can be, each of one of 23 sizes: few steps, and few statements to prepare."""
    start = 0
    while start < len(lines):
        left = len(lines) - start
        size = left if left < 16 else min(128, left & ~15)
        chunk = lines[start : start + size]
        connection.execute(_insert(head, marks, tail, size), [value for line in chunk for value in line])
        start += size


@cache
def _insert(head: str, marks: str, tail: str, size: int) -> str:
    return f"{head} {_marks(marks, size)}{tail}"
