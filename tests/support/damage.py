"""A file with places that cannot be read, as a bad disk leaves it."""

from pathlib import Path

import apsw

_LEAVES = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'"


def damage(path: Path, table: str, holding: bytes) -> None:
    """Make the leaves of a table of a closed file that hold these bytes unreadable, and leave all others."""
    connection = apsw.Connection(str(path))
    page_bytes = int(connection.pragma("page_size"))
    places = [(number - 1) * page_bytes for (number,) in connection.execute(_LEAVES, (table,))]
    connection.close()
    with path.open("r+b") as file:
        whole = file.read()
        struck = [at for at in places if holding in whole[at : at + page_bytes]]
        assert 0 < len(struck) < len(places), f"{len(struck)} of {len(places)} pages"
        for at in struck:
            file.seek(at)
            file.write(b"\xff" * 8)
