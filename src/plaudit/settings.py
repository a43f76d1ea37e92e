"""Every setting, in one table: plaudit.toml and PLAUDIT_* (which wins). docs/settings.md is generated from it.

A setting that nobody knows, or a value it cannot have, stops the process with its name.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from plaudit.adapters.secret import MIN_SECRET_CHARACTERS, kept_secret
from plaudit.domain.catalogue import DEFAULT_REACTIONS, DEFAULT_TYPES, Catalogue, Reaction, TargetType
from plaudit.environment import PREFIX, Environment, names
from plaudit.whole import whole_engines, whole_senders

T = TypeVar("T")
# As browsers send it (RFC 6454 section 6): lower case, no path, no port that goes without saying.
_ORIGIN = re.compile(
    r"\*|null|file://|(?!https://.*:443\Z)(?!http://.*:80\Z)[a-z][a-z0-9+.-]*://[a-z0-9_.:\[\]-]+"
)


class Settings(BaseSettings):
    """What can be set. Times in seconds, sizes in what their name says."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file="plaudit.toml", extra="forbid", validate_default=True, frozen=True
    )

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on. Put a TLS proxy in front of anything public.",
    )
    port: int = Field(
        8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one and prints it."
    )
    data: Annotated[Path, AfterValidator(Path.absolute)] = Field(
        Path("data"),
        description="Folder of the database and the secret (in the cluster: the journal). One process at a time.",
    )
    demo: bool = Field(
        False, description="Serve /demo, where any visitor acts as a demo user. Not for production."
    )

    auth_secret: SecretStr | None = Field(
        None, description="HS256 secret of at least 32 characters; by default a random one in DATA/secret."
    )
    old_auth_secrets: list[SecretStr] = Field(
        [], description="Secrets that sign no more; what they signed is still good. See docs/tokens.md."
    )
    jwks: str | None = Field(None, description="File or URL of the public keys (JWKS) instead of a secret.")
    cursor_secret: SecretStr | None = Field(
        None,
        description="Signs the cursors of pages, the same for all processes. By default the secret that signs tokens.",
    )
    audience: str | None = Field(None, description="Tokens must be for this `aud`; set it with `jwks`.")
    issuer: str | None = Field(None, description="Tokens must be from this `iss`.")
    user_claim: str = Field("sub", description="The claim of a token that is the user's id.")

    targets: Literal["open", "registered"] = Field(
        "open", description="`registered` refuses taps on targets that the host app has not registered."
    )
    public_counts: bool = Field(True, description="Counts and lists of open targets need no token.")
    cors_origins: list[str] = Field(
        [], description='Origins whose pages may call the API, each `https://host` without a slash, or ["*"].'
    )
    rate_limit_per_s: float = Field(
        50.0, ge=0, description="Taps per second and user, in each process; 0 for no limit."
    )
    rate_limit_burst: int = Field(
        100, ge=1, description="Taps a user may send at once before the rate applies."
    )

    near_cache_entries: int = Field(
        50_000, ge=100, description="Targets kept ready in memory, about 2 KB each."
    )
    max_waiting_taps: int = Field(20_000, ge=100, description="Taps queued before further ones get a 503.")
    max_waiting_per_target: int = Field(4_000, ge=100, description="The same for one target, or lane.")
    tap_deadline_s: float = Field(2.0, gt=0, description="A tap that would wait longer gets a 503 at once.")
    max_connections: int = Field(
        16_384,
        ge=16,
        description="Open connections; more wait to be accepted. Fewer if the limit of open files (`ulimit -n`) has no "
        "room for so many. An idle one costs up to 20 KB of memory.",
    )
    idle_connection_s: float = Field(
        75.0,
        gt=0,
        le=3600,
        description="A connection that waits this long for its next request, or for the rest of its headers, is "
        "closed. More than the 60 s of most proxies, so that they close first.",
    )
    stalled_connection_s: float = Field(
        60.0,
        ge=1,
        le=3600,
        description="A connection whose client has taken nothing for this long, though there was something for it, is "
        "closed (Linux): its network is gone, or it does not read.",
    )
    max_streams: int = Field(
        10_000,
        ge=1,
        description="Streams of changed counts open at once; further ones get a 503. Never more than three quarters of "
        "the connections, so that other calls find room. Each costs about 25 KB of memory; together they "
        "listen to at most four times as many different targets.",
    )
    max_streams_per_user: int = Field(
        20, ge=0, description="Streams one user may have open where a token was needed; 0 for no limit."
    )
    max_streams_per_address: int = Field(
        0,
        ge=0,
        description="Streams without a token from one address; 0 for no limit, because behind a proxy all clients have "
        "its address.",
    )

    notification_windows_s: list[int] = Field(
        [30, 300, 1800],
        min_length=1,
        max_length=10,
        description="How long reactions are gathered before the owner of a target is told: the first window, and those "
        "that follow a message. An hour without a message, and it starts again.",
    )
    notification_texts: Path | None = Field(
        None,
        description="Folder of `LANGUAGE.json` files that replace the texts of messages, or add languages; see "
        "docs/notifications.md.",
    )

    push_console: bool = Field(False, description="Write every message into the log too. For development.")
    webhook_url: str | None = Field(
        None, description="Where messages are sent to the host app, signed as Standard Webhooks says."
    )
    webhook_secrets: list[SecretStr] = Field(
        [],
        description="What they are signed with, `whsec_…`: the new one, and the old one while it is replaced.",
    )
    fcm_credentials: Path | None = Field(
        None, description="File of the service account that may push over Firebase Cloud Messaging."
    )
    fcm_url: str = Field("https://fcm.googleapis.com", description="Where FCM is.")
    apns_key: Path | None = Field(None, description="File of the .p8 key that may push over APNs.")
    apns_key_id: str | None = Field(None, description="The id of that key.")
    apns_team_id: str | None = Field(None, description="The id of the team it belongs to.")
    apns_topic: str | None = Field(None, description="The bundle id of the app.")
    apns_url: str = Field("https://api.push.apple.com", description="Where APNs is.")
    apns_sandbox_url: str = Field(
        "https://api.sandbox.push.apple.com", description="The same for devices of environment `sandbox`."
    )
    vapid_key: Path | None = Field(
        None, description="PEM file of the P-256 key that may push to browsers (Web Push)."
    )
    vapid_subject: str | None = Field(
        None, description="`mailto:` or `https:` address at which push services reach you about that."
    )
    push_private_addresses: bool = Field(
        False,
        description="Allow webhooks and push endpoints in private networks. Users name endpoints, so off by default.",
    )
    push_ca: Path | None = Field(
        None, description="PEM file of authorities to trust for pushes and webhooks, besides the system's."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="`auto` writes for people on a terminal and JSON elsewhere."
    )

    reactions: list[dict[str, Any]] = Field(
        [],
        description="The catalogue: `code` (1-15, for ever), `name`, `emoji`, `label`, `retired`. Default: the six.",
    )
    types: list[dict[str, Any]] = Field(
        [],
        description="Target types: `name`, `access` (`open` or `granted`), `reactions`. Default: post, comment, "
        "message.",
    )

    split: Literal["off", "auto"] = Field(
        "off", description="`auto` splits targets too big or too hot for one cell over `lanes`. Cluster."
    )
    split_rows: int = Field(
        100_000, ge=1, description="For `split = auto`: a target with more rows than this is too big."
    )
    split_queue_s: float = Field(
        2.0,
        gt=0,
        le=60,
        description="For `split = auto`: a target is too hot if its commits in one process are full and leave more "
        "behind than the next one takes, for this long.",
    )
    split_refused_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="For `split = auto`: a target is too hot if more than this share of the proposals of one process "
        "is refused, because others commit it as well.",
    )
    split_refused_taps_per_s: float = Field(
        200.0, ge=0, description="The same only if the process stores more taps on it than this."
    )
    split_refused_s: float = Field(5.0, gt=0, le=60, description="The same only if it is so for this long.")
    splits_per_minute: int = Field(
        6, ge=1, description="For `split = auto`: so many targets at most are split by one process."
    )
    lanes: int = Field(64, ge=2, le=1024, description="Over how many lanes a target is split, for ever.")
    cassandra_hosts: list[str] = Field(
        [],
        description="Cassandra nodes to begin with; the others are found. The cluster profile needs these, "
        "`kafka_brokers` and `redis_nodes`; without any of the three: the embedded profile.",
    )
    cassandra_port: int = Field(9042, ge=1, le=65535, description="Port of CQL, the same on every node.")
    cassandra_keyspace: str = Field(
        "plaudit",
        pattern=r"^[a-z][a-z0-9_]{0,47}$",
        description="The keyspace; `plaudit migrate` creates it.",
    )
    cassandra_datacenter: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]{1,48}$",
        description="The data centre that takes all writes; by default that of the first node.",
    )
    cassandra_replication: int = Field(
        3,
        ge=1,
        le=9,
        description="Replicas of a new keyspace, each in a zone of its own. 1 is for trying things out.",
    )
    cassandra_username: str | None = Field(None, description="Who we are to Cassandra, with the password.")
    cassandra_password: SecretStr | None = Field(None, description="The password to that name.")
    cassandra_tls_ca: str | None = Field(
        None,
        description="PEM file of the authorities to trust; switches TLS on. Nodes are checked by address.",
    )
    cassandra_tls_cert: str | None = Field(None, description="PEM file of our own certificate, with its key.")
    cassandra_tls_key: str | None = Field(None, description="PEM file of the key to that certificate.")

    kafka_brokers: list[str] = Field([], description="Kafka brokers to begin with, each `host:port`.")
    kafka_topic: str = Field(
        "plaudit.reactions",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="The topic of events; `plaudit migrate` creates it, and `TOPIC.quarantine` beside it.",
    )
    kafka_partitions: int = Field(
        500,
        ge=1,
        le=10_000,
        description="Partitions of the topic, also of one that is there: as many workers of a role share the work.",
    )
    kafka_replication: int = Field(
        3, ge=1, le=9, description="Replicas of a new topic. 1 is for trying things out."
    )
    kafka_group_protocol: Literal["classic", "consumer"] = Field(
        "classic",
        description="How workers share partitions: `classic` (cooperative-sticky), or `consumer` (new in Kafka 4).",
    )
    kafka_username: str | None = Field(None, description="Who we are to Kafka (SCRAM-SHA-512).")
    kafka_password: SecretStr | None = Field(None, description="The password to that name.")
    kafka_tls_ca: str | None = Field(None, description="PEM file of authorities to trust; switches TLS on.")
    kafka_tls_cert: str | None = Field(None, description="PEM file of our own certificate, with its key.")
    kafka_tls_key: str | None = Field(None, description="PEM file of the key to that certificate.")

    redis_nodes: list[str] = Field(
        [], description="Nodes of Redis Cluster to begin with, each `host:port`; the others are found."
    )
    redis_username: str | None = Field(None, description="Who we are to Redis (ACL).")
    redis_password: SecretStr | None = Field(None, description="The password to that name.")
    redis_tls_ca: str | None = Field(None, description="PEM file of authorities to trust; switches TLS on.")

    worker_port: int = Field(
        9180,
        ge=0,
        le=65535,
        description="Port where a worker answers /healthz, /readyz and /metrics; 0 picks a free one and prints it.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then plaudit.toml."""
        return init_settings, Environment(settings_cls), TomlConfigSettingsSource(settings_cls)

    @model_validator(mode="after")
    def _whole(self) -> "Settings":
        for secret in filter(None, (self.auth_secret, *self.old_auth_secrets)):
            if len(secret.get_secret_value()) < MIN_SECRET_CHARACTERS:
                raise ValueError(f"auth_secret: needs at least {MIN_SECRET_CHARACTERS} characters")
        if "\0" in self.host or "\0" in str(self.data):
            raise ValueError("host and data: have no NUL character")
        if self.jwks is not None and (self.auth_secret is not None or self.old_auth_secrets):
            raise ValueError("auth_secret and jwks: set one of them, not both")
        if self.demo and self.jwks is not None:
            raise ValueError(
                "demo and jwks: the demo page signs its own tokens, so it needs auth_secret instead"
            )
        if unknown := {
            name for name in names() if name[len(PREFIX) :].lower() not in type(self).model_fields
        }:
            raise ValueError(f"{', '.join(sorted(unknown))}: there is no such setting; see docs/settings.md")
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"cors_origins: {origin!r} is not as browsers send it, e.g. https://example.com"
                )
        if not all(1 <= seconds <= 86_400 for seconds in self.notification_windows_s):
            raise ValueError("notification_windows_s: a window has 1 to 86400 seconds")
        whole_senders(self)
        self.catalogue()
        self._whole_cluster()
        return self

    def _whole_cluster(self) -> None:
        there = whole_engines(self)
        if self.split == "auto" and not there:
            raise ValueError("cassandra_hosts: needed with split; in the embedded profile nothing is split")
        if there and self.jwks is not None and self.cursor_secret is None:
            raise ValueError("cursor_secret: needed with jwks in the cluster, the same for all processes")

    @property
    def clustered(self) -> bool:
        """Whether the settings name the engines of the cluster profile."""
        return bool(self.cassandra_hosts)

    @property
    def only_local(self) -> bool:
        """Whether nobody on another machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def catalogue(self) -> Catalogue:
        """The reactions and target types of this installation."""
        reactions = _entries("reactions", self.reactions, Reaction)
        types = _entries("types", self.types, TargetType)
        return Catalogue(reactions or DEFAULT_REACTIONS, types or DEFAULT_TYPES)

    def secret(self) -> str | None:
        """The HS256 secret: the one that is set, else the one in DATA/secret (made now if need be); None with JWKS.

        Raises `Unavailable`, `Corrupt`.
        """
        if self.jwks is not None:
            return None
        return self.auth_secret.get_secret_value() if self.auth_secret else self.kept_secret()

    def kept_secret(self) -> str:
        """The secret in DATA/secret, made at first use. Raises `Unavailable`, `Corrupt`."""
        return kept_secret(self.data)


def _entries(name: str, entries: list[dict[str, Any]], kind: type[T]) -> list[T]:
    """The entries of a setting that is a list of tables. Raises `ValueError` with the place of a wrong one."""
    try:
        return msgspec.convert(entries, list[kind])  # type: ignore[valid-type] # a type is a value here
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}: {error}") from error
