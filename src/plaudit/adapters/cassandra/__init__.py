"""Cassandra: the ledger of the cluster profile, and the lists derived from it. Needs the extra `plaudit[cluster]`."""

from plaudit.adapters.cassandra.cells import CassandraCells
from plaudit.adapters.cassandra.counts import CassandraCounts
from plaudit.adapters.cassandra.debts import CassandraDebts
from plaudit.adapters.cassandra.jobs import CassandraJobs
from plaudit.adapters.cassandra.leases import CassandraLeases
from plaudit.adapters.cassandra.lists import CassandraLists
from plaudit.adapters.cassandra.migrate import migrate
from plaudit.adapters.cassandra.session import CassandraConfig, Session
from plaudit.adapters.cassandra.sweep import CassandraSweep
from plaudit.adapters.cassandra.users import CassandraUsers

__all__ = [
    "CassandraCells",
    "CassandraConfig",
    "CassandraCounts",
    "CassandraDebts",
    "CassandraJobs",
    "CassandraLeases",
    "CassandraLists",
    "CassandraSweep",
    "CassandraUsers",
    "Session",
    "migrate",
]
