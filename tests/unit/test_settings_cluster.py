"""Half a configuration of the cluster stops the process with the name of what is missing."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from plaudit.adapters.system import SystemClock
from plaudit.bootstrap.engines import cassandra_config, kafka_config, redis_config
from plaudit.bootstrap.splitting import split_hot
from plaudit.services.heat import Bounds
from plaudit.settings import Settings
from plaudit.telemetry import Metrics

KAFKA = {"kafka_brokers": ["10.0.0.1:9092"]}
REDIS = {"redis_nodes": ["10.0.0.1:6379"]}
CASSANDRA = {"cassandra_hosts": ["10.0.0.1"]}
HOSTS = {**CASSANDRA, **KAFKA, **REDIS}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"cassandra_keyspace": "likes"}, "cassandra_hosts"),
        ({"cassandra_port": 9042}, "cassandra_hosts"),
        ({"kafka_topic": "likes"}, "kafka_brokers"),
        ({"redis_username": "plaudit"}, "redis_password"),
        ({**CASSANDRA, **KAFKA}, "redis_nodes"),
        ({**CASSANDRA, **REDIS}, "kafka_brokers"),
        ({**KAFKA, **REDIS}, "cassandra_hosts"),
        ({"split": "auto"}, "cassandra_hosts: needed with split"),
        ({**HOSTS, "jwks": "keys.json"}, "cursor_secret"),
        ({**HOSTS, "kafka_brokers": ["10.0.0.1"]}, "kafka_brokers"),
        ({**HOSTS, "redis_nodes": ["10.0.0.1:x"]}, "redis_nodes"),
        ({**HOSTS, "kafka_username": "plaudit"}, "kafka_password"),
        ({**HOSTS, "kafka_tls_cert": "me.pem", "kafka_tls_key": "me.key"}, "kafka_tls_ca"),
        ({**HOSTS, "cassandra_username": "plaudit"}, "cassandra_password"),
        ({**HOSTS, "cassandra_password": "secret"}, "cassandra_username"),
        ({**HOSTS, "cassandra_tls_ca": "ca.pem", "cassandra_tls_cert": "me.pem"}, "cassandra_tls_key"),
        ({**HOSTS, "cassandra_tls_ca": "ca.pem", "cassandra_tls_key": "me.key"}, "cassandra_tls_cert"),
        ({**HOSTS, "cassandra_tls_cert": "me.pem", "cassandra_tls_key": "me.key"}, "cassandra_tls_ca"),
        ({**HOSTS, "cassandra_keyspace": "no; DROP"}, "cassandra_keyspace"),
        ({**HOSTS, "cassandra_datacenter": "'x'"}, "cassandra_datacenter"),
    ],
)
def test_half_a_configuration_is_none(given: dict[str, object], names: str) -> None:
    with pytest.raises(ValidationError) as error:
        Settings(**given)  # type: ignore[arg-type] # pydantic checks them
    assert names in str(error.value)


def test_a_whole_one_is_taken_and_its_password_is_not_shown() -> None:
    settings = Settings(**HOSTS, cassandra_username="plaudit", cassandra_password="guess me")  # type: ignore[arg-type] # pydantic checks them
    assert settings.clustered
    assert Settings(**HOSTS, redis_password="guess me").redis_password is not None  # type: ignore[arg-type] # pydantic checks them
    assert "guess me" not in repr(settings)
    assert not Settings().clustered


def test_each_driver_is_given_what_is_set_for_it(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("PEM")
    settings = Settings(**HOSTS, kafka_group_protocol="consumer", redis_tls_ca=str(authority))  # type: ignore[arg-type] # pydantic checks them
    assert kafka_config(settings).group_protocol == "consumer"
    assert (redis_config(settings).tls_ca, cassandra_config(settings).tls_ca) == ("PEM", None)


def bounds(**given: object) -> Bounds | None:
    """When a target would be split by itself."""
    settings = Settings(**HOSTS, **given)  # type: ignore[arg-type] # pydantic checks them
    hot = split_hot(settings, None, SystemClock(), Metrics())  # type: ignore[arg-type] # nothing is split here
    return hot._heat._bounds if hot else None


def test_when_a_target_is_split_by_itself_is_a_setting_each() -> None:
    assert bounds() is None
    assert bounds(split="auto") == Bounds()
    given = {
        "split_rows": 1,
        "split_queue_s": 2.5,
        "split_refused_share": 0.3,
        "split_refused_taps_per_s": 4,
        "split_refused_s": 5.5,
        "splits_per_minute": 7,
    }
    assert bounds(split="auto", **given) == Bounds(1, 2.5, 0.3, 4, 5.5, 7)
