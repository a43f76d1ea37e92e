"""`plaudit doctor` in the cluster profile: the engines that the settings name, the workers, and our own server.

Importing this needs the drivers of `plaudit[cluster]`.
"""

import platform
from collections.abc import Mapping

from plaudit.adapters.kafka import KafkaAdmin, Lag
from plaudit.adapters.redis import Session
from plaudit.adapters.redis.inspect import RedisFacts, inspect
from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import cassandra_config, kafka_config, redis_config
from plaudit.doctor import Finding, server, tokens
from plaudit.doctor_cluster import examine_cluster
from plaudit.domain.errors import PlauditError
from plaudit.settings import Settings

FOLLOWERS = ("counters", "index", "notify", "flush")
BEHIND_S = 5.0  # counts are to be fresh within this time
FLUSHED_S = 600.0  # totals are written beside the ledger every five minutes
WORST = 3  # partitions that are named


async def examine_engines(settings: Settings) -> list[Finding]:
    """Check everything, in the order in which one would look."""
    kafka = kafka_config(settings)
    admin = KafkaAdmin(kafka)

    async def redis() -> RedisFacts:
        async with Session(redis_config(settings)) as session:
            return await inspect(session)

    return [
        Finding("program", "ok", f"Python {platform.python_version()}"),
        *tokens(settings),
        *_shared(settings),
        *await examine_cluster(
            cassandra_config(settings),
            admin.describe,
            redis,
            SystemClock(),
            partitions=settings.kafka_partitions,
        ),
        *[await _worker(admin, role, kafka.group(role)) for role in FOLLOWERS],
        server(settings),
    ]


def _shared(settings: Settings) -> list[Finding]:
    if settings.auth_secret is not None or settings.jwks is not None:
        return []
    advice = "each process makes one of its own: set PLAUDIT_AUTH_SECRET, the same for all, unless there is only one"
    return [Finding("shared secret", "note", advice)]


async def _worker(admin: KafkaAdmin, role: str, group: str) -> Finding:
    """How far the workers of a role are behind the log."""
    check = f"worker {role}"
    try:
        lags = await admin.lag(group)
    except PlauditError as error:
        return Finding(check, "fault", f"how far it is behind cannot be asked: {error}")
    if not lags:
        return Finding(check, "note", f"none has ever marked how far it is: start `plaudit worker {role}`")
    return behind(role, lags)


def behind(role: str, lags: Mapping[int, Lag]) -> Finding:
    """What these lags of a role's partitions mean; which are furthest behind, as the others tell nothing of those."""
    check = f"worker {role}"
    events, seconds = sum(lag.events for lag in lags.values()), max(lag.seconds for lag in lags.values())
    words = f"{events:,} events and {seconds:.0f} s behind"
    late = sorted((at for at in lags if lags[at].events), key=lambda at: lags[at].seconds, reverse=True)
    if late and len(lags) > 1:
        worst = ", ".join(f"{at} ({lags[at].events:,}, {lags[at].seconds:.0f} s)" for at in late[:WORST])
        words += f", in {len(late)} of {len(lags)} partitions, most in {worst}"
    if events and seconds > (FLUSHED_S if role == "flush" else BEHIND_S):
        return Finding(
            check, "fault", f"{words}: is one running? Start more of them, up to one per partition"
        )
    return Finding(check, "ok", words)
