"""How the engines of the cluster profile are reached, from the settings. Importing this needs `plaudit[cluster]`."""

from pathlib import Path

from pydantic import SecretStr

from plaudit.adapters.cassandra import CassandraConfig
from plaudit.adapters.kafka import KafkaConfig
from plaudit.domain.errors import Invalid
from plaudit.settings import Settings


def cassandra_config(settings: Settings) -> CassandraConfig:
    """Raises `Invalid` with the name of a file that cannot be read."""
    return CassandraConfig(
        hosts=settings.cassandra_hosts,
        port=settings.cassandra_port,
        keyspace=settings.cassandra_keyspace,
        datacenter=settings.cassandra_datacenter,
        replication=settings.cassandra_replication,
        username=settings.cassandra_username,
        password=_secret(settings.cassandra_password),
        tls_ca=_pem("cassandra_tls_ca", settings.cassandra_tls_ca),
        tls_cert=_pem("cassandra_tls_cert", settings.cassandra_tls_cert),
        tls_key=_pem("cassandra_tls_key", settings.cassandra_tls_key),
    )


def kafka_config(settings: Settings) -> KafkaConfig:
    """Where Kafka is, and which topic is ours."""
    return KafkaConfig(settings.kafka_brokers, settings.kafka_topic)


def _secret(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _pem(name: str, file: str | None) -> str | None:
    """The text of a PEM file that a setting names. Raises `Invalid`."""
    if file is None:
        return None
    try:
        return Path(file).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise Invalid("invalid_setting", f"{name}: cannot be read: {error}") from error
