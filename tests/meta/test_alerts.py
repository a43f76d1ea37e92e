"""Each alert fires on what it is for, counted as the code counts it, and none on a service that is well."""

from collections.abc import Callable
from typing import Any

import pytest

from plaudit.services.aside import Aside
from plaudit.telemetry import Metrics
from tests.meta.test_deploy import FILES, alerts
from tests.support.auditors import idle_auditor
from tests.support.promql import Query, Scrapes, seconds
from tests.support.scraped import scraped

WELL_FOR = 10  # minutes
ROLES = ("counters", "index", "notify", "flush")
START_S = 1_760_000_000.0
BOTH = {
    "plaudit_writable": 1.0,
    "plaudit_windows_late_seconds": 10.0,
    "plaudit_jobs_waiting_seconds": 300.0,
    "plaudit_dead_letters": 0.0,
    "plaudit_jwks_age_seconds": 599.0,
}
GAUGES = {
    "alerts-embedded.yml": {
        **BOTH,
        "plaudit_events_behind": 1_000.0,
        "plaudit_notifier_behind": 0.0,
        "plaudit_last_backup_timestamp_seconds": START_S - 25 * 3600,
    },
    "alerts-cluster.yml": {
        **BOTH,
        "plaudit_debts_open": 0.0,
        "plaudit_debts_unreadable": 0.0,
        "plaudit_counters_away": 0.0,
        "plaudit_own_state_away": 0.0,
    },
}


def many(times: int, what: Callable[[], None]) -> None:
    """Do it so often."""
    for _ in range(times):
        what()


class Process:
    """What a process counts and shows; in the cluster one stands for all of them."""

    def __init__(self, profile: str) -> None:
        self.metrics = Metrics()
        self.gauges = dict(GAUGES[profile])
        for name in self.gauges:
            self.metrics.gauge(name, lambda name=name: self.gauges[name])  # type: ignore[misc] # the loop's
        self.lag_s = dict.fromkeys(ROLES if profile == "alerts-cluster.yml" else (), 0.5)
        for name in ("plaudit_consumer_lag_seconds", "plaudit_consumer_lag_events"):
            self.metrics.labelled(name, lambda: {(role, "0"): lag_s for role, lag_s in self.lag_s.items()})
        for role in self.lag_s:
            self.metrics.begins(role)
        if self.lag_s:
            idle_auditor(self.metrics)
        else:
            Aside("notify", str, self.metrics)
        self.up = self.audits = True

    def work(self) -> None:
        """A minute of it."""
        self.answer(100, "created", 200)
        self.metrics.committed(80, 100)
        self.metrics.audited += 80 * self.audits

    def answer(self, taps: int, outcome: str, status: int) -> None:
        """Answer so many."""
        many(taps, lambda: self.metrics.tap(outcome))
        many(taps, lambda: self.metrics.answered("tap", status, 0.01))

    def now(self, **state: Any) -> None:
        """From now on gauges, or what is known of the process, are so."""
        for name, value in state.items():
            if name in self.gauges:
                self.gauges[name] = value
            else:
                setattr(self, name, value)


Happens = Callable[[Process], object]

# Whatever follows from them is to be seen: one event is put aside once.
ONCE: dict[str, Happens] = {
    "PlauditAway": lambda process: process.now(up=False),
    "PlauditKeysStale": lambda process: process.now(plaudit_jwks_age_seconds=1_801),
    "PlauditNoBackup": lambda process: process.now(plaudit_last_backup_timestamp_seconds=0),
    "PlauditNotWritable": lambda process: process.now(plaudit_writable=0),
    "PlauditWindowsLate": lambda process: process.now(plaudit_windows_late_seconds=61),
    "PlauditDeadLetters": lambda process: process.now(plaudit_dead_letters=1),
    "PlauditNotAudited": lambda process: process.now(audits=False),
    "PlauditJobWaits": lambda process: process.now(plaudit_jobs_waiting_seconds=1_801),
    "PlauditJobFailed": lambda process: setattr(process.metrics, "jobs_failed", 1),
    "PlauditDrift": lambda process: setattr(process.metrics, "drift", 1),
    "PlauditUnreadableEvents": lambda process: setattr(process.metrics, "unreadable_events", 1),
    "PlauditDamaged": lambda process: process.metrics.found_damage(),
    "PlauditPutAside": lambda process: process.metrics.quarantined("notify"),
    "PlauditEventsKept": lambda process: process.now(plaudit_events_behind=1_001),
    "PlauditNotifierBehind": lambda process: process.now(plaudit_notifier_behind=1),
    "PlauditLag": lambda process: process.lag_s.update(index=6),
    "PlauditLagGrows": lambda process: process.lag_s.update(counters=61),
    "PlauditRoleMissing": lambda process: process.lag_s.pop("flush"),
    "PlauditQuarantine": lambda process: process.metrics.quarantined("index"),
    "PlauditEventsOwed": lambda process: process.now(plaudit_debts_open=1),
    "PlauditDebtUnreadable": lambda process: process.now(plaudit_debts_unreadable=1),
    "PlauditCountersAway": lambda process: process.now(plaudit_counters_away=1),
    "PlauditDerivedDrift": lambda process: process.metrics.derived_drifted("lists"),
    "PlauditOwnStateAway": lambda process: process.now(plaudit_own_state_away=1),
}
EVERY_MINUTE: dict[str, Happens] = {
    "PlauditTapsFail": lambda process: process.answer(3, "internal", 500),
    "PlauditMostTapsFail": lambda process: process.answer(50, "unavailable", 503),
    "PlauditRequestsFail": lambda process: many(3, lambda: process.metrics.answered("feed", 500, 1)),
    "PlauditTokensRefused": lambda process: process.answer(26, "token_invalid", 401),
    "PlauditRetries": lambda process: many(10, lambda: process.metrics.retried("index")),
    "PlauditReplays": lambda process: process.metrics.went_back("counters"),
}
RULES = {rule["alert"]: (name, rule) for name in FILES for rule in alerts(name)}


def played(profile: str, minutes: int, happens: Happens | None = None, *, once: bool = True) -> Scrapes:
    """What Prometheus finds, once a minute."""
    process, scrapes = Process(profile), Scrapes()
    for minute in range(minutes):
        process.work()
        if happens is not None and (minute == WELL_FOR if once else minute >= WELL_FOR):
            happens(process)
        scrapes.append((START_S + minute * 60, scraped(process.metrics) if process.up else {}))
    return scrapes


def fires(rule: dict[str, Any], scrapes: Scrapes) -> bool:
    """Whether it holds for as long as it has to."""
    since: dict[Any, float] = {}
    for n, (now_s, _) in enumerate(scrapes, 1):
        since = {labels: since.get(labels, now_s) for labels in Query(rule["expr"], scrapes[:n]).answer()}
        if any(now_s - at_s >= seconds(rule.get("for", "0s")) for at_s in since.values()):
            return True
    return False


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_fires_on_what_it_is_for(alert: str) -> None:
    name, rule = RULES[alert]
    once, minutes = alert in ONCE, 140 if rule.get("for") == "1h" else 40
    happens = ONCE[alert] if once else EVERY_MINUTE[alert]
    for profile in GAUGES if name == "alerts.yml" else (name,):
        assert fires(rule, played(profile, minutes, happens, once=once)), profile


@pytest.mark.parametrize("profile", GAUGES)
def test_no_alert_fires_on_a_service_that_is_well(profile: str) -> None:
    scrapes = played(profile, 140)
    assert [
        rule["alert"] for name in ("alerts.yml", profile) for rule in alerts(name) if fires(rule, scrapes)
    ] == []


def test_a_series_that_appears_has_not_increased() -> None:
    """So who counts with a label has to begin at 0, or nobody hears of the first."""
    metrics, scrapes = Metrics(), Scrapes()
    for minute in range(5):
        if minute == 2:
            metrics.quarantined("new")
        scrapes.append((minute * 60.0, scraped(metrics)))
    query = "increase(plaudit_events_quarantined_total[10m]) > 0"
    assert Query(query, scrapes).answer() == {}
    metrics.quarantined("new")
    scrapes.append((300.0, scraped(metrics)))
    assert Query(query, scrapes).answer() == {frozenset({("role", "new")}): 1.0}


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("sum(x) / sum(y) > 0.1", {(): 0.5}),
        ("sum(x) / sum(nothing) > 0.1", {}),
        ("max by (role) (x) > 2", {(("role", "b"),): 4.0}),
        ('x{role=~"a|c"}', {(("role", "a"),): 1.0}),
        ('absent(x{role="a"}) or absent(x{role="c"})', {(("role", "c"),): 1.0}),
        ("sum(x) == 5 and sum(y) > 0", {(): 5.0}),
        ("sum(x) == 5 and sum(y) > 10", {}),
        ("time() - sum(y) > 2 * 40", {(): 110.0}),
        ("increase(x[1m]) > 0", {(("role", "b"),): 2.0}),
        ("rate(x[2m]) > 0", {(("role", "b"),): 2 / 60 / 2}),
    ],
)
def test_queries_are_answered_as_prometheus_does(query: str, answer: dict[Any, float]) -> None:
    def series(b: float) -> dict[Any, float]:
        return {
            ("x", frozenset({("role", "a")})): 1.0,
            ("x", frozenset({("role", "b")})): b,
            ("y", frozenset()): 10.0,
        }

    scrapes = [(0.0, series(2)), (60.0, series(2)), (120.0, series(4))]
    assert Query(query, scrapes).answer() == {frozenset(labels): value for labels, value in answer.items()}
