"""Audits a Plaudit file from outside: whatever happened to it, its counts must be the number of its rows."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import apsw

_TARGETS = "SELECT no, id, counts, rows, recent, deleted FROM target"
_ROWS = "SELECT target, user, reaction FROM reaction_row"


def audit_file(path: Path) -> None:
    """Raises `AssertionError` with every difference between the headers and the rows of this `plaudit.db`.

    Reads one state of the file, also while it is being written.
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(5000)
        connection.execute("BEGIN")
        wrong = [
            f"integrity_check: {line}"
            for (line,) in connection.execute("PRAGMA integrity_check")
            if line != "ok"
        ]
        wrong += _differences(connection)
    finally:
        connection.close(True)
    assert not wrong, f"{len(wrong)} differences in {path.name}:\n" + "\n".join(wrong[:50])


def _differences(connection: apsw.Connection) -> list[str]:
    reactions: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for no, user, reaction in connection.execute(_ROWS):
        reactions[no][user] = reaction
    wrong = []
    for no, target, counts, rows, recent, deleted in connection.execute(_TARGETS):
        of_target = reactions.pop(no, {})
        wrong += [f"{target}: {line}" for line in _audit(of_target, counts, rows, recent, deleted)]
    wrong += [f"rows of target number {no}, which does not exist" for no in reactions]
    return wrong


def _audit(reactions: dict[str, int], counts: str, rows: int, recent: str, deleted: int) -> list[str]:
    wrong = []
    if rows != len(reactions):
        wrong.append(f"the header says {rows} rows, there are {len(reactions)}")
    shown = {code: n for code, n in enumerate(json.loads(counts), start=1) if n}
    there = dict(Counter(code for code in reactions.values() if code)) if not deleted else {}
    if shown != there:
        wrong.append(f"the header counts {shown}, the rows are {there}")
    people = [tuple(entry) for entry in json.loads(recent)]
    if deleted and people:
        wrong.append(f"deleted, but {people} are recent")
    if len({user for user, _ in people}) != len(people) or len(people) > 3:
        wrong.append(f"recent repeats somebody or is too long: {people}")
    wrong += [
        f"recent has {user} with {code}, the row has {reactions.get(user)}"
        for user, code in people
        if reactions.get(user) != code or code == 0
    ]
    if deleted == 2 and reactions:
        wrong.append(f"purged, but {len(reactions)} rows are there")
    return wrong
