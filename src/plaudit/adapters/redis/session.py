"""The connection to Redis Cluster: how it is made, how commands for many keys travel, and what errors mean.

One client per process; its connections, one to each node, are made when first needed and again when they break.
Nothing here blocks the event loop, and a Redis that is away stops nobody from starting.
"""

import hashlib
import ssl
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple, Self, cast

from glide import (
    AdvancedGlideClusterClientConfiguration,
    AllPrimaries,
    ClusterBatch,
    ClusterBatchOptions,
    GlideClusterClient,
    GlideClusterClientConfiguration,
    InfoSection,
    NodeAddress,
    ServerCredentials,
    TlsAdvancedConfiguration,
)

from plaudit.adapters.redis.direct import Direct, Entry, Span
from plaudit.adapters.redis.errors import ERRORS, failed, no_script
from plaudit.adapters.redis.reads import Reads

NAME = "plaudit"  # of our connections, in `CLIENT LIST`
REQUEST_TIMEOUT_MS = 500
BATCH_TIMEOUT_MS = 2000
CONNECT_TIMEOUT_MS = 500
MOST_IN_FLIGHT = 10_000  # a bound of the driver's; ours are in the services, and smaller
PER_BATCH = 500  # commands or keys; more would hold up what others ask on the same connection

Value = str | bytes
Command = list[Value]


class RedisConfig(NamedTuple):
    """Where Redis is and who we are. `nodes`: `host:port` of some; the others are found. `tls_ca`: the PEM text of the
    authorities to trust; switches TLS on."""

    nodes: Sequence[str]
    username: str | None = None
    password: str | None = None
    tls_ca: str | None = None


class Script:
    """A script of the folder `lua`, by its name."""

    def __init__(self, name: str) -> None:
        self.source = (files("plaudit.adapters.redis") / "lua" / f"{name}.lua").read_text(encoding="ascii")
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def on(self, key: str, *arguments: Value, beside: Sequence[str] = ()) -> Command:
        """The command that runs it on one key, and on more of the same slot."""
        return ["EVALSHA", self.digest, str(1 + len(beside)), key, *beside, *arguments]


class Session:
    """An open client; use as an async context manager. Every call raises `Unavailable`."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._scripts: dict[Value, Script] = {}
        self._client: Any = None
        self._direct = Direct(self._mget, self._masters, _entry(config), REQUEST_TIMEOUT_MS / 1000)
        self._reads = Reads(self._direct.get, most=PER_BATCH)

    def know(self, *scripts: Script) -> None:
        """Scripts that commands may name by their digest."""
        self._scripts |= {script.digest: script for script in scripts}

    async def __aenter__(self) -> Self:
        """Make the client; it connects with the first command."""
        try:
            self._client = await GlideClusterClient.create(_configuration(self._config))
        except ERRORS as error:
            raise failed(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._direct.aclose()
        if self._client is not None:
            await self._client.close()

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of these keys, in this order; one round trip to each node concerned, side by side, together with
        whatever else is asked for meanwhile."""
        if not keys:
            return []
        return await self._reads.get(keys)

    async def _mget(self, keys: list[str]) -> list[bytes | None]:
        try:
            return cast("list[bytes | None]", await self._client.mget(keys))
        except ERRORS as error:
            raise failed(error) from error

    async def _masters(self) -> list[Span]:
        try:
            told = await self._client.custom_command(["CLUSTER", "SLOTS"])
        except ERRORS as error:
            raise failed(error) from error
        return [
            Span(first, last, master[0].decode(), master[1]) for first, last, master, *_ in told if master[0]
        ]

    async def hmget(self, key: str, fields: Sequence[str]) -> list[bytes | None]:
        """The values of these fields of one hash, in this order."""
        try:
            return cast("list[bytes | None]", await self._client.hmget(key, list(fields)))
        except ERRORS as error:
            raise failed(error) from error

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to these commands, each on one key: as many round trips as there are batches of `PER_BATCH`.

        When it raises, some of them may have been carried out. A node that does not know a script, because it is new or
        has forgotten, is told it with the command that needs it.
        """
        answers: list[Any] = []
        for start in range(0, len(commands), PER_BATCH):
            answers += await self._run(commands[start : start + PER_BATCH])
        return answers

    async def epoch(self) -> object:
        """Something that is equal to what it was before as long as no master can have forgotten what it acknowledged.

        These are the replication ids of all masters: each names one history of a data set, and there is a new one when
        a replica is promoted and when a master starts anew (https://redis.io/docs/latest/operate/oss_and_stack/
        management/replication/). One round trip to each master.
        """
        try:
            told = await self._client.info([InfoSection.REPLICATION], AllPrimaries())
        except ERRORS as error:
            raise failed(error) from error
        return frozenset(_replication_id(text) for text in told.values())

    async def told(self, *command: str) -> list[bytes]:
        """What every master answers to a command that only reads, as `redis-cli` would show it."""
        try:
            answers = await self._client.custom_command(list(command), AllPrimaries())
        except ERRORS as error:
            raise failed(error) from error
        return list(answers.values())

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        answers = await self._send(commands)
        unknown = [n for n, answer in enumerate(answers) if no_script(answer)]
        if unknown:
            again = await self._send([self._spelt_out(commands[n]) for n in unknown])
            for n, answer in zip(unknown, again, strict=True):
                answers[n] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise failed(answer) from answer
        return answers

    def _spelt_out(self, command: Command) -> Command:
        return ["EVAL", self._scripts[command[1]].source, *command[2:]]

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        """The answers, errors among them."""
        batch = ClusterBatch(is_atomic=False)
        for command in commands:
            batch.custom_command(command)
        try:
            options = ClusterBatchOptions(timeout=BATCH_TIMEOUT_MS)
            return await self._client.exec(batch, raise_on_error=False, options=options) or []
        except ERRORS as error:
            raise failed(error) from error


def _entry(config: RedisConfig) -> Entry:
    commands = [["CLIENT", "SETNAME", NAME]]
    if config.password is not None:
        commands.insert(0, ["AUTH", *([config.username] if config.username else []), config.password])
    tls = ssl.create_default_context(cadata=config.tls_ca) if config.tls_ca is not None else None
    return Entry(commands, tls, CONNECT_TIMEOUT_MS / 1000)


def _replication_id(told: bytes) -> bytes:
    for line in told.splitlines():
        if line.startswith(b"master_replid:"):
            return line
    return told  # a server that has none: whatever it says is compared


def _configuration(config: RedisConfig) -> GlideClusterClientConfiguration:
    addresses = []
    for node in config.nodes:
        host, _, port = node.rpartition(":")
        addresses.append(NodeAddress(host.strip("[]"), int(port)))
    tls = None
    if config.tls_ca is not None:
        tls = TlsAdvancedConfiguration(root_pem_cacerts=config.tls_ca.encode())
    credentials = None
    if config.password is not None:
        credentials = ServerCredentials(password=config.password, username=config.username)
    return GlideClusterClientConfiguration(
        addresses,
        use_tls=tls is not None,
        credentials=credentials,
        request_timeout=REQUEST_TIMEOUT_MS,
        client_name=NAME,
        inflight_requests_limit=MOST_IN_FLIGHT,
        # Otherwise making the client would hold the event loop until every node has answered.
        lazy_connect=True,
        advanced_config=AdvancedGlideClusterClientConfiguration(
            connection_timeout=CONNECT_TIMEOUT_MS, tls_config=tls
        ),
    )
