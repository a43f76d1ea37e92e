"""What the driver of Kafka is told, and what its errors mean to a reader."""

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from plaudit.adapters.kafka import KafkaConfig
from plaudit.adapters.kafka.consumer import options
from plaudit.adapters.kafka.errors import of, read_failed
from plaudit.domain.errors import Conflict, Unavailable

PLAIN = KafkaConfig(["a:9092", "b:9092"])


@pytest.mark.parametrize(
    ("config", "protocol"),
    [
        (PLAIN, "plaintext"),
        (PLAIN._replace(tls_ca="/ca.pem"), "ssl"),
        (PLAIN._replace(username="u", password="p"), "sasl_plaintext"),
        (PLAIN._replace(username="u", password="p", tls_ca="/ca.pem"), "sasl_ssl"),
    ],
)
def test_the_connection_is_as_secure_as_the_settings_say(config: KafkaConfig, protocol: str) -> None:
    found = config.options()
    assert found["security.protocol"] == protocol
    assert found["bootstrap.servers"] == "a:9092,b:9092"
    assert (found.get("ssl.ca.location") == "/ca.pem") == protocol.endswith("ssl")
    assert (found.get("sasl.mechanism") == "SCRAM-SHA-512") == protocol.startswith("sasl")


def test_our_own_certificate_is_shown_where_there_is_one() -> None:
    found = PLAIN._replace(tls_ca="/ca.pem", tls_cert="/own.pem", tls_key="/own.key").options()
    assert found["ssl.certificate.location"] == "/own.pem"
    assert found["ssl.key.location"] == "/own.key"


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_the_driver_takes_the_options_of_both_group_protocols(protocol: str) -> None:
    config = PLAIN._replace(group_protocol="consumer" if protocol == "consumer" else "classic")
    Consumer(options(config, config.group("index"), 10, 300)).close()
    assert config.group("index") == "plaudit.reactions.index"


def test_what_an_error_means_to_a_reader() -> None:
    assert isinstance(read_failed(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)), Unavailable)
    assert isinstance(read_failed(KafkaError(KafkaError._FATAL, "x", fatal=True)), Conflict)
    assert of(KafkaException(KafkaError(KafkaError._STATE))).code() == KafkaError._STATE
    assert of(KafkaException("only words")).code() == KafkaError._FAIL


def test_a_frozen_broker_holds_nobody_for_long() -> None:
    asked = options(PLAIN, "group", 10, 300)["socket.timeout.ms"]
    assert 5_000 <= int(asked) <= 15_000, "by default the driver waits a minute for what a broker has"
