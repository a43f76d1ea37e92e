"""What the auditor of the cluster shows before it has found anything."""

from typing import get_args

from plaudit.services.compare import Store
from plaudit.telemetry import Metrics
from tests.support.auditors import idle_auditor
from tests.support.scraped import scraped


def test_each_derived_store_is_counted_from_zero() -> None:
    """A series that is born at 1 has not increased, so no alert would tell of the first."""
    metrics = Metrics()
    idle_auditor(metrics)
    shown = {
        labels: value for (name, labels), value in scraped(metrics).items() if "derived_drift_total" in name
    }
    stores = set(get_args(Store)) - {"ledger"}
    assert shown == {frozenset({("store", store)}): 0.0 for store in stores}
