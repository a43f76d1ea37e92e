"""The embedded profile: one SQLite file is ledger, lists, directory, jobs and event log."""

from plaudit.adapters.sqlite.audit import SqliteAudit
from plaudit.adapters.sqlite.batches import SqliteBatches
from plaudit.adapters.sqlite.copies import SqliteCopies
from plaudit.adapters.sqlite.database import FILE_NAME, Database
from plaudit.adapters.sqlite.deliveries import SqliteDeadLetters, SqliteDeliveries
from plaudit.adapters.sqlite.directory import SqliteDirectory
from plaudit.adapters.sqlite.inbox import SqliteAudience, SqliteInbox
from plaudit.adapters.sqlite.inspect import Inspection, inspect
from plaudit.adapters.sqlite.ledger import Numbers, SqliteLedger
from plaudit.adapters.sqlite.lists import SqliteLists
from plaudit.adapters.sqlite.log import SqliteLog
from plaudit.adapters.sqlite.removals import SqliteJobs, SqliteRemovals
from plaudit.adapters.sqlite.transfer import SqliteIntake, SqlitePreview, SqliteSource

__all__ = [
    "FILE_NAME",
    "Database",
    "Inspection",
    "Numbers",
    "SqliteAudience",
    "SqliteAudit",
    "SqliteBatches",
    "SqliteCopies",
    "SqliteDeadLetters",
    "SqliteDeliveries",
    "SqliteDirectory",
    "SqliteInbox",
    "SqliteIntake",
    "SqliteJobs",
    "SqliteLedger",
    "SqliteLists",
    "SqliteLog",
    "SqlitePreview",
    "SqliteRemovals",
    "SqliteSource",
    "inspect",
]
