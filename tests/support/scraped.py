"""Metrics as Prometheus finds them."""

from prometheus_client.parser import text_string_to_metric_families

from plaudit.telemetry import Metrics

Series = tuple[str, frozenset[tuple[str, str]]]


def scraped(metrics: Metrics) -> dict[Series, float]:
    """The value of every series, by its name and its labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """The value of one series."""
    return scraped(metrics)[name, frozenset(labels.items())]
