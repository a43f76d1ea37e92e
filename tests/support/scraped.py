"""Metrics as Prometheus finds them."""

from prometheus_client.parser import text_string_to_metric_families

from plaudit.telemetry import Metrics

Labels = frozenset[tuple[str, str]]
Scrape = dict[tuple[str, Labels], float]  # by name and labels


def scraped(metrics: Metrics) -> Scrape:
    """The value of every series."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """The value of one series."""
    return scraped(metrics)[name, frozenset(labels.items())]
