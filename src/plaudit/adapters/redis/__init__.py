"""Redis Cluster: counters and own state near the readers. Needs the extra `plaudit[cluster]`."""

from plaudit.adapters.redis.mine import RedisIndexed, RedisMine
from plaudit.adapters.redis.session import RedisConfig, Session
from plaudit.adapters.redis.totals import RedisTotals

__all__ = ["RedisConfig", "RedisIndexed", "RedisMine", "RedisTotals", "Session"]
