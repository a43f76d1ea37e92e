"""A reader whose brokers are away: it waits, and says so once."""

import logging
import time

import pytest

from plaudit.adapters.kafka import KafkaConfig, KafkaConsumer
from tests.engines.node import free_ports


async def test_brokers_that_stay_away_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    config = KafkaConfig([f"127.0.0.1:{port}" for port in free_ports(2)])
    with caplog.at_level(logging.INFO, "plaudit.kafka"):
        async with KafkaConsumer(config, "nobody") as consumer:
            deadline = time.monotonic() + 60
            while "_TRANSPORT" not in caplog.text:
                assert time.monotonic() < deadline
                assert list(await consumer.poll(1, 0.1)) == []
            for _ in range(20):  # the driver tries again after tenths of seconds
                assert list(await consumer.poll(1, 0.1)) == []
    kinds = [record.message.split(":")[1] for record in caplog.records]
    assert sorted(kinds) == sorted(set(kinds))
