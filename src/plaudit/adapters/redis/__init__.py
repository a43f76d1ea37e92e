"""Redis Cluster: counters near the readers. Needs the extra `plaudit[cluster]`."""

from plaudit.adapters.redis.batches import RedisBatches
from plaudit.adapters.redis.session import RedisConfig, Session
from plaudit.adapters.redis.totals import RedisTotals

__all__ = ["RedisBatches", "RedisConfig", "RedisTotals", "Session"]
