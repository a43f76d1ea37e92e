"""Cassandra: the ledger of the cluster profile, the lists derived from it, and what owners are told. Needs the extra
`plaudit[cluster]`."""

from plaudit.adapters.cassandra.audience import CassandraAudience
from plaudit.adapters.cassandra.cells import CassandraCells
from plaudit.adapters.cassandra.counts import CassandraCounts
from plaudit.adapters.cassandra.debts import CassandraDebts
from plaudit.adapters.cassandra.deliveries import CassandraDeliveries
from plaudit.adapters.cassandra.inbox import CassandraInbox
from plaudit.adapters.cassandra.index import CassandraIndex
from plaudit.adapters.cassandra.jobs import CassandraJobs
from plaudit.adapters.cassandra.leases import CassandraLeases
from plaudit.adapters.cassandra.lists import CassandraLists
from plaudit.adapters.cassandra.migrate import migrate
from plaudit.adapters.cassandra.owners import CassandraOwners
from plaudit.adapters.cassandra.pushes import Pushes
from plaudit.adapters.cassandra.session import CassandraConfig, Session
from plaudit.adapters.cassandra.shares import Shares
from plaudit.adapters.cassandra.sweep import CassandraSweep
from plaudit.adapters.cassandra.told import CassandraTold
from plaudit.adapters.cassandra.users import CassandraUsers

__all__ = [
    "CassandraAudience",
    "CassandraCells",
    "CassandraConfig",
    "CassandraCounts",
    "CassandraDebts",
    "CassandraDeliveries",
    "CassandraInbox",
    "CassandraIndex",
    "CassandraJobs",
    "CassandraLeases",
    "CassandraLists",
    "CassandraOwners",
    "CassandraSweep",
    "CassandraTold",
    "CassandraUsers",
    "Pushes",
    "Session",
    "Shares",
    "migrate",
]
