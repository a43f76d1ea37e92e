"""Kafka: the log of events of the cluster profile. Needs the extra `plaudit[cluster]`."""

from plaudit.adapters.kafka.events import KafkaConfig, KafkaEvents

__all__ = ["KafkaConfig", "KafkaEvents"]
