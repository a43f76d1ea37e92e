"""Redis Cluster: counters and own state near the readers. Needs the extra `plaudit[cluster]`."""

from plaudit.adapters.redis.batches import RedisBatches
from plaudit.adapters.redis.kept import RedisKept
from plaudit.adapters.redis.mine import RedisIndexed, RedisMine
from plaudit.adapters.redis.session import RedisConfig, Session
from plaudit.adapters.redis.totals import RedisTotals

__all__ = [
    "RedisBatches",
    "RedisConfig",
    "RedisIndexed",
    "RedisKept",
    "RedisMine",
    "RedisTotals",
    "Session",
]
