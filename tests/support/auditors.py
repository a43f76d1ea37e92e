"""Auditors of the cluster for tests that need no stores."""

from typing import Any

from plaudit.services.audit_cells import CellAuditor
from plaudit.telemetry import Metrics


def idle_auditor(metrics: Metrics) -> CellAuditor:
    """One that has not looked at anything yet."""
    nobody: Any = None
    return CellAuditor(*(nobody, nobody, nobody, nobody, nobody, nobody), metrics, repair=True)
