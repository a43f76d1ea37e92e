"""What a Redis Cluster says about itself: for `plaudit doctor`. Only reads, and nothing that hosted services refuse."""

from collections.abc import Sequence

import msgspec

from plaudit.adapters.redis.session import Session


class RedisNode(msgspec.Struct, frozen=True):
    """A master. `appends`: whether it keeps an append-only file. `max_bytes`: 0 for no limit."""

    version: str
    policy: str
    max_bytes: int
    appends: bool
    replicas: int


class RedisFacts(msgspec.Struct, frozen=True):
    """`state` is `ok`, or what the cluster calls itself when slots have no master."""

    nodes: Sequence[RedisNode]
    state: str


async def inspect(session: Session) -> RedisFacts:
    """Ask every master. Raises `Unavailable`."""
    told = [_fields(text) for text in await session.told("INFO")]
    states = {_fields(text).get("cluster_state", "unknown") for text in await session.told("CLUSTER", "INFO")}
    nodes = [
        RedisNode(
            f"Valkey {fields['valkey_version']}"
            if "valkey_version" in fields
            else f"Redis {fields.get('redis_version', 'unknown')}",
            fields.get("maxmemory_policy", "unknown"),
            int(fields.get("maxmemory", 0)),
            fields.get("aof_enabled") == "1",
            int(fields.get("connected_slaves", 0)),
        )
        for fields in told
    ]
    return RedisFacts(nodes, "ok" if states == {"ok"} else ", ".join(sorted(states - {"ok"})))


def _fields(text: bytes) -> dict[str, str]:
    lines = (line.split(":", 1) for line in text.decode(errors="replace").splitlines() if ":" in line)
    return {name: value.strip() for name, value in lines}
