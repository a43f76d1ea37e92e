"""Every key and option of a table in Cassandra says why: whoever alters one has nothing else to go by."""

import re

from tests.meta.files import SRC, lines, name

OPTION = re.compile(r"(?:WITH|AND) (CLUSTERING ORDER|[a-z_]+)")
EXPLAINS_ITSELF = {"comment", "replication"}


def asks(code: str) -> list[str]:
    """The parts of this line that need a why: its table's key, and options."""
    keys = ["PRIMARY KEY"] if "PRIMARY KEY" in code else []
    return keys + [option for option in OPTION.findall(code) if option not in EXPLAINS_ITSELF]


def unexplained(text: str) -> list[tuple[int, str]]:
    """Those with no comment behind them, nor in lines of its own right above. Above CREATE TABLE is what it is for."""
    found, above = [], False
    for number, line in lines(text):
        code, _, comment = (part.strip() for part in line.partition("--"))
        own_line = above and not code.startswith("CREATE")
        if len(asked := asks(code)) > 1 or not (comment or own_line):
            found += [(number, part) for part in asked]
        above = bool(comment) and not code
    return found


def test_every_key_and_option_of_a_table_says_why() -> None:
    files = sorted((SRC / "adapters" / "cassandra" / "schema").glob("*.cql"))
    assert files
    assert [
        f"{name(path, number)}: {part}"
        for path in files
        for number, part in unexplained(path.read_text(encoding="utf-8"))
    ] == []


def test_a_why_stands_beside_what_it_is_of() -> None:
    text = """\
-- What it is for.
CREATE TABLE a (b int PRIMARY KEY)
WITH comment = 'b'
    -- Why an hour.
    AND gc_grace_seconds = 3600
    AND compaction = {'class': 'c'} AND speculative_retry = '95p'; -- one why for two
"""
    assert unexplained(text) == [(2, "PRIMARY KEY"), (6, "compaction"), (6, "speculative_retry")]
    assert unexplained("-- What for.\nCREATE TABLE a (\n    b int,\n    PRIMARY KEY (b) -- why\n);") == []
