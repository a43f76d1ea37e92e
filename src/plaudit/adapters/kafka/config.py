"""Where Kafka is and who we are to it: the options that producer, consumer and administration share."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

Options = dict[str, str | int | float | bool]


class KafkaConfig(NamedTuple):
    """`partitions` and `replication` are those of new topics. `tls_*` are paths of PEM files; `tls_ca` switches TLS on.
    A name with its password: SCRAM-SHA-512.
    """

    brokers: Sequence[str]
    topic: str = "plaudit.reactions"
    partitions: int = 500
    replication: int = 3
    group_protocol: Literal["classic", "consumer"] = "classic"
    username: str | None = None
    password: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    @property
    def quarantine(self) -> str:
        """The topic of events that could not be handled."""
        return f"{self.topic}.quarantine"

    def group(self, role: str) -> str:
        """The group of all workers of one role."""
        return f"{self.topic}.{role}"

    def options(self) -> Options:
        """What every client of the driver is told."""
        options: Options = {
            "bootstrap.servers": ",".join(self.brokers),
            "client.id": "plaudit",
            "reconnect.backoff.max.ms": 1000,
            # A frozen broker would hold those who read from it for the driver's default of a minute, although its
            # partitions have other leaders after a few seconds.
            "socket.timeout.ms": 10_000,
            "socket.keepalive.enable": True,  # a peer that vanished without a word
            "log_level": 0,  # every failure reaches its caller
        }
        if self.username is not None and self.password is not None:
            options |= {
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        protocol = "plaintext" if self.tls_ca is None else "ssl"
        options["security.protocol"] = protocol if self.username is None else f"sasl_{protocol}"
        files = {"ca": self.tls_ca, "certificate": self.tls_cert, "key": self.tls_key}
        return options | {f"ssl.{what}.location": path for what, path in files.items() if path is not None}
