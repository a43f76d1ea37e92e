"""Cassandra: the ledger of the cluster profile, the lists derived from it, and what owners are told. Needs the extra
`plaudit[cluster]`."""

from plaudit.adapters.cassandra.audience import CassandraAudience
from plaudit.adapters.cassandra.cells import CassandraCells
from plaudit.adapters.cassandra.debts import CassandraDebts
from plaudit.adapters.cassandra.deliveries import CassandraDeliveries
from plaudit.adapters.cassandra.inbox import CassandraInbox
from plaudit.adapters.cassandra.lists import CassandraLists
from plaudit.adapters.cassandra.migrate import migrate
from plaudit.adapters.cassandra.pushes import Pushes
from plaudit.adapters.cassandra.session import CassandraConfig, Session
from plaudit.adapters.cassandra.shares import Shares
from plaudit.adapters.cassandra.told import CassandraTold

__all__ = [
    "CassandraAudience",
    "CassandraCells",
    "CassandraConfig",
    "CassandraDebts",
    "CassandraDeliveries",
    "CassandraInbox",
    "CassandraLists",
    "CassandraTold",
    "Pushes",
    "Session",
    "Shares",
    "migrate",
]
