"""The topics that `plaudit migrate` makes, what `plaudit doctor` sees, and the lag as it is."""

import time
from collections.abc import Sequence

import pytest

from plaudit.adapters.kafka import KafkaAdmin, KafkaConfig
from plaudit.adapters.kafka.admin import TopicState
from plaudit.domain.errors import Unavailable
from plaudit.domain.events import Committed
from plaudit.services import consume
from plaudit.telemetry import Metrics
from tests.engines.kafka import Kafka
from tests.support.log import Log, Notes, event, working
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)


def shown(metrics: Metrics, name: str) -> list[float]:
    """A gauge of each partition."""
    samples = [sample for family in metrics.collect() if family.name == name for sample in family.samples]
    assert {sample.labels["role"] for sample in samples} <= {"test"}
    return [sample.value for sample in sorted(samples, key=lambda sample: sample.labels["partition"])]


WEEK_S = 7 * 24 * 60 * 60


async def test_topics_are_created_once_and_described(kafka: Kafka, anyio_backend: str) -> None:
    config = KafkaConfig([kafka.bootstrap], "made", partitions=3, replication=1)
    admin = KafkaAdmin(config)
    assert await admin.describe() is None
    assert await admin.create() == ["made", "made.quarantine"]
    described = await admin.describe()
    assert described == TopicState(3, 1, min_insync=1, retention_s=WEEK_S, brokers=1)
    more = KafkaAdmin(config._replace(partitions=5))
    assert await more.create() == []
    assert await more.describe() == described, "a topic that is there stays as it is"


async def test_more_replicas_than_brokers_are_refused(kafka: Kafka, anyio_backend: str) -> None:
    with pytest.raises(Unavailable, match="INVALID_REPLICATION_FACTOR"):
        await KafkaAdmin(KafkaConfig([kafka.bootstrap], "too-many", 3, 3)).create()


async def test_a_cluster_that_is_not_there(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plaudit.adapters.kafka.admin.ASK_S", 0.2)
    with pytest.raises(Unavailable):
        await KafkaAdmin(KafkaConfig(["127.0.0.1:9"])).describe()


@pytest.mark.parametrize("behind_s", [0, 60])
async def test_the_lag_is_the_truth(
    kafka: Kafka, behind_s: float, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consume, "ENDS_EVERY_S", 0.2)
    log = Log(kafka, 4)
    began_s = time.time()
    old_ms = round(began_s * 1000) - 100_000
    for partition in range(3):
        log.fill(partition, [event(f"p{partition}", seq) for seq in range(1, 11)])
    admin, group = KafkaAdmin(log.config), log.config.group("test")
    lag = await admin.lag(group)
    assert [lag[partition].events for partition in range(4)] == [10, 10, 10, 0], "a group that never was"

    def fails(events: Sequence[Committed]) -> None:
        if any(one.seq > 10 for one in events):
            raise Unavailable("away")

    handler, metrics = Notes(fails), Metrics()
    async with working(log, handler, metrics, behind_s=behind_s):
        await until(lambda: len(handler.seen) == 30, "what can be handled")
        log.fill(0, [event("p0", seq) for seq in range(11, 18)], old_ms)
        await until(lambda: metrics.consumer_retries["test"] > 0, "it is in hand, so its age is known")
        log.fill(1, [event("p1", seq) for seq in range(11, 19)])  # not even read, and of just now
        await until(
            lambda: shown(metrics, "plaudit_consumer_lag_events") == [7, 8, 0, 0], "the metric shows it"
        )
        asked_s = time.time() - began_s
        ages = shown(metrics, "plaudit_consumer_lag_seconds")
        answered_s = time.time() - began_s
        assert 99 + asked_s < ages[0] < 101 + answered_s
        assert 0 < ages[1] < answered_s
        assert ages[2:] == [0, 0]
        await until(lambda: metrics.consumer_retries["test"] > 4, "its marks are stored")
    asked_s = time.time() - began_s
    lag = await admin.lag(group)
    answered_s = time.time() - began_s
    assert [lag[partition].events for partition in range(4)] == [7, 8, 0, 0]
    assert 99 + asked_s < lag[0].seconds < 101 + answered_s
    assert 0 < lag[1].seconds < answered_s
    assert [lag[partition].seconds for partition in (2, 3)] == [0, 0]
