"""The embedded profile: one SQLite file is ledger, lists, directory, jobs and event log."""

from plaudit.adapters.sqlite.audit import SqliteAudit
from plaudit.adapters.sqlite.database import Database
from plaudit.adapters.sqlite.directory import SqliteDirectory
from plaudit.adapters.sqlite.inspect import Inspection, inspect
from plaudit.adapters.sqlite.ledger import Numbers, SqliteLedger
from plaudit.adapters.sqlite.lists import SqliteLists
from plaudit.adapters.sqlite.log import SqliteLog
from plaudit.adapters.sqlite.removals import SqliteJobs, SqliteRemovals

__all__ = [
    "Database",
    "Inspection",
    "Numbers",
    "SqliteAudit",
    "SqliteDirectory",
    "SqliteJobs",
    "SqliteLedger",
    "SqliteLists",
    "SqliteLog",
    "SqliteRemovals",
    "inspect",
]
