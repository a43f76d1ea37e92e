"""What is shipped for operators names what the code has."""

import re

from plaudit.telemetry import METRICS
from tests.meta.files import ROOT

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def test_alerts_ask_for_metrics_and_labels_that_exist() -> None:
    series = {metric.name + suffix: metric for metric in METRICS for suffix in SUFFIXES[metric.kind]}
    text = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\bplaudit_\w+", text))
    assert asked
    assert asked - series.keys() == set()
    for name, label in re.findall(r"\b(plaudit_\w+)\{(\w+)=", text):
        assert label in (series[name].label or "").split(", ")
    for label, name in re.findall(r"by \((\w+)\) \((plaudit_\w+)", text):
        assert label in (series[name].label or "").split(", ")
