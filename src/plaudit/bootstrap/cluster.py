"""Builds the cluster profile: any number of processes over Cassandra, Kafka and Redis Cluster.

Importing this needs the drivers of `plaudit[cluster]`.
"""

from plaudit.adapters.cassandra import Session, migrate
from plaudit.bootstrap.engines import cassandra_config
from plaudit.settings import Settings


async def migrate_engines(settings: Settings) -> list[str]:
    """Create or upgrade the schema in Cassandra; returns what was applied now. Raises `PlauditError`."""
    async with Session(cassandra_config(settings)) as session:
        return await migrate(session)
