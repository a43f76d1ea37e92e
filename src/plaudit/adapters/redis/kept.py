"""Whether Redis still has what it was given: a token beside the windows of each shard, for ever.

Replication ids name what a failover forgets (`Session.epoch`); they stay as they are when somebody empties a master
(FLUSHALL). Then its tokens are gone, and who misses one puts another in its place, so that everybody who asks sees a
change once. The tokens have no time to live, so `volatile-lru` evicts none.
"""

from secrets import token_hex

from plaudit.adapters.redis.batches import SHARDS
from plaudit.adapters.redis.session import Command, Session

KEYS = [f"notification_epoch:{{w{shard}}}" for shard in range(SHARDS)]


class RedisKept:
    """Lives inside an open session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def epoch(self) -> object:
        """Something that is equal to what it was before as long as no shard can have forgotten what it acknowledged.

        Raises `Unavailable`.
        """
        history = await self._session.epoch()
        found = await self._session.mget(KEYS)
        missing = [key for key, token in zip(KEYS, found, strict=True) if token is None]
        if missing:
            new: list[Command] = [["SET", key, token_hex(8), "NX"] for key in missing]
            await self._session.run(new)
            found = await self._session.mget(KEYS)  # another process may have been first
        return history, tuple(found)
