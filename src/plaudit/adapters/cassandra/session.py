"""The connection to Cassandra: how it is made, which consistency is asked for, and what its errors mean.

Everything is read at QUORUM and committed at SERIAL and QUORUM. Nothing is ever repeated here: only the caller knows
whether that is safe.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import acsylla

from plaudit.adapters.cassandra.errors import read_failed, write_failed

# Longer than the servers' own limits (2 s, and 1 s of contention), so that it is they who say what happened.
REQUEST_TIMEOUT_S = 4.0
CONNECT_TIMEOUT_S = 5.0
# A frozen replica would hold its keys hostage for the driver's default of a minute.
SILENT_S = 3

SERIAL = acsylla.Consistency.SERIAL
QUORUM = acsylla.Consistency.QUORUM

Value = str | int | bytes | Sequence[str] | None


class CassandraConfig(NamedTuple):
    """Where Cassandra is and who we are. `tls_*` are PEM texts of one certificate or key; `tls_ca` switches TLS on."""

    hosts: Sequence[str]
    port: int = 9042
    keyspace: str = "plaudit"
    datacenter: str | None = None
    replication: int = 3
    username: str | None = None
    password: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None


class Session:
    """An open session; use as an async context manager. `query` texts name their keyspace as `$keyspace`."""

    def __init__(self, config: CassandraConfig) -> None:
        self.config = config
        self._session: Any = None
        self._prepared: dict[tuple[str, Any], Any] = {}

    async def __aenter__(self) -> Self:
        """Connect. Raises `Unavailable`."""
        try:
            async with asyncio.timeout(2 * CONNECT_TIMEOUT_S):
                self._session = await _cluster(self.config).create_session()
        except (acsylla.errors.CassException, TimeoutError) as error:
            raise read_failed(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let requests under way end, and close."""
        if self._session is not None:
            await self._session.close()

    async def prepare(self, query: str, consistency: Any = QUORUM) -> Any:
        """A prepared statement, prepared once. Raises `Unavailable`."""
        known = self._prepared.get((query, consistency))
        if known is None:
            text = query.replace("$keyspace", self.config.keyspace)
            try:
                known = await self._session.create_prepared(
                    text, consistency=consistency, timeout=REQUEST_TIMEOUT_S
                )
            except acsylla.errors.CassException as error:
                raise read_failed(error) from error
            self._prepared[query, consistency] = known
        return known

    async def read(self, statement: Any) -> Any:
        """The result of a bound statement that reads. Raises `Unavailable`."""
        try:
            return await self._session.execute(statement)
        except acsylla.errors.CassException as error:
            raise read_failed(error) from error

    async def write(self, statement: Any) -> None:
        """Execute a bound statement that writes. Raises `Unavailable` and `OutcomeUnknown`."""
        try:
            await self._session.execute(statement)
        except acsylla.errors.CassException as error:
            raise write_failed(error) from error

    async def commit(self, statements: Sequence[Any]) -> Any:
        """The result of one batch of bound statements on one partition. Raises `Unavailable` and `OutcomeUnknown`."""
        batch = acsylla.create_batch_unlogged(timeout=REQUEST_TIMEOUT_S)
        batch.set_consistency(QUORUM)
        batch.set_serial_consistency(SERIAL)
        for statement in statements:
            batch.add_statement(statement)
        try:
            return await self._session.execute_batch(batch)
        except acsylla.errors.CassException as error:
            raise write_failed(error) from error

    async def change_schema(self, statement: str) -> None:
        """Run one statement of the schema. Raises `Unavailable`: it may be run again."""
        try:
            await self._session.query(statement, timeout=30.0)
        except acsylla.errors.CassException as error:
            raise read_failed(error) from error

    async def now_us(self) -> int:
        """The store's wall clock, as a coordinator has it, in microseconds UTC (to the millisecond)."""
        statement = await self.prepare(NOW, acsylla.Consistency.ONE)
        row = (await self.read(statement.bind([]))).first()
        return int(row.as_tuple()[0]) * 1000


NOW = "SELECT toUnixTimestamp(now()) FROM system.local"


def _cluster(config: CassandraConfig) -> Any:
    """Why each option: docs/decisions/0031."""
    options: dict[str, Any] = {}
    if config.username is not None:
        options |= {"username": config.username, "password": config.password}
    if config.tls_ca is not None:
        options |= {
            "ssl_enabled": True,
            "ssl_trusted_cert": config.tls_ca,
            "ssl_verify_flags": acsylla.SSLVerifyFlags.PEER_IDENTITY,
            "ssl_cert": config.tls_cert,
            "ssl_private_key": config.tls_key,
        }
    if config.datacenter is not None:
        options["load_balance_dc_aware"] = config.datacenter
    return acsylla.create_cluster(
        list(config.hosts),
        port=config.port,
        consistency=QUORUM,
        serial_consistency=SERIAL,
        request_timeout=REQUEST_TIMEOUT_S,
        connect_timeout=CONNECT_TIMEOUT_S,
        num_threads_io=1,
        # The same replica first for the same cell: its Paxos state is warm there, and proposals meet in one place.
        token_aware_routing_shuffle_replicas=False,
        heartbeat_interval_sec=1,
        idle_timeout_sec=SILENT_S,
        constant_reconnect_delay_ms=500,
        # Never repeat anything by itself: a proposal that was repeated may be refused by its own first attempt.
        retry_policy="fallthrough",
        log_level="critical",  # every failure reaches its caller; the driver's log would only say it again
        application_name="plaudit",
        **options,
    )
