"""Kafka: the log of events of the cluster profile. Needs the extra `plaudit[cluster]`."""

from plaudit.adapters.kafka.admin import KafkaAdmin, Lag
from plaudit.adapters.kafka.config import KafkaConfig
from plaudit.adapters.kafka.consumer import KafkaConsumer
from plaudit.adapters.kafka.events import KafkaEvents, KafkaQuarantine

__all__ = ["KafkaAdmin", "KafkaConfig", "KafkaConsumer", "KafkaEvents", "KafkaQuarantine", "Lag"]
