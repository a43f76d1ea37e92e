"""The closed set of metrics, and the cheapest way to keep them.

Everything is counted on the event loop in plain integers (a tap costs well under a microsecond) and turned into the
Prometheus text format when asked for. `METRICS` is the table that docs/metrics.md is generated from.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric


class Definition(NamedTuple):
    """One metric: its name without suffix, its kind, its label or labels ("role, partition") if it has any, and what it
    tells an operator."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    label: str | None
    help: str

    @property
    def labels(self) -> list[str]:
        """The names of its labels."""
        return self.label.split(", ") if self.label else []


METRICS = (
    Definition(
        "plaudit_taps", "counter", "outcome", "Taps answered, by outcome; refused ones under their code."
    ),
    Definition("plaudit_requests", "counter", "status", "Requests answered, by HTTP status."),
    Definition(
        "plaudit_request_seconds", "histogram", "call", "Time from a request's headers to its answer."
    ),
    Definition("plaudit_commits", "counter", None, "Commits: one per target and batch."),
    Definition(
        "plaudit_commits_refused",
        "counter",
        None,
        "Cluster: commits that lost to another process's and were made again.",
    ),
    Definition("plaudit_splits", "counter", None, "Cluster: targets that this process split over lanes."),
    Definition("plaudit_recovered", "counter", None, "Cluster: cells finished for processes that died."),
    Definition(
        "plaudit_recovering", "gauge", None, "Cluster: cells of processes that died, not finished yet."
    ),
    Definition(
        "plaudit_journal_open",
        "gauge",
        None,
        "Cluster: commits under way or not published yet, as the journal has them.",
    ),
    Definition("plaudit_debts_paid", "counter", None, "Cluster: events that were owed and are published."),
    Definition(
        "plaudit_debts_open",
        "gauge",
        None,
        "Cluster: events owed to the log when the sweep last looked. Alert if it stays above 0.",
    ),
    Definition(
        "plaudit_debts_unreadable",
        "gauge",
        None,
        "Cluster: of the events owed, those of cells that cannot be read: nobody can pay them. Alert above 0.",
    ),
    Definition("plaudit_batch_taps", "histogram", None, "Taps that shared one transaction."),
    Definition("plaudit_taps_waiting", "gauge", None, "Taps queued for the next commit."),
    Definition(
        "plaudit_open_commits", "gauge", None, "Commits of unknown outcome so far; nothing overtakes them."
    ),
    Definition("plaudit_near_cache_entries", "gauge", None, "Targets in the near cache."),
    Definition(
        "plaudit_refills", "counter", None, "Cluster: targets read from the ledger as Redis lacked them."
    ),
    Definition(
        "plaudit_degraded_reads", "counter", None, "Cluster: targets read from the ledger with Redis away."
    ),
    Definition(
        "plaudit_counters_away",
        "gauge",
        None,
        "Cluster: 1 while Redis does not answer and is only probed. Alert above 0.",
    ),
    Definition(
        "plaudit_own_state_away",
        "gauge",
        None,
        "Cluster: 1 while own state is left out of answers because Redis does not answer. Alert above 0.",
    ),
    Definition(
        "plaudit_writable", "gauge", None, "1 while the last write worked, 0 while the store refuses writes."
    ),
    Definition(
        "plaudit_last_backup_timestamp_seconds",
        "gauge",
        None,
        "When `plaudit backup` last finished, in seconds since 1970; 0 if it never did. Alert if that is long ago.",
    ),
    Definition(
        "plaudit_jwks_age_seconds",
        "gauge",
        None,
        "Seconds since the keys of `PLAUDIT_JWKS` were last read (600 at most if all is well); 0 without. Alert if it "
        "grows.",
    ),
    Definition(
        "plaudit_damaged_reads",
        "counter",
        None,
        "Reads of the file that found it damaged: what needs that place fails, and all else goes on. `plaudit doctor` "
        "says more. Alert above 0.",
    ),
    Definition("plaudit_stream_listeners", "gauge", None, "Open streams."),
    Definition("plaudit_stream_events", "counter", None, "Events sent to all streams together."),
    Definition(
        "plaudit_stream_slow",
        "counter",
        None,
        "Turns of streams that had not taken their last event: they get the newest one later, and none in between.",
    ),
    Definition(
        "plaudit_events_behind",
        "gauge",
        None,
        "Events kept because the slowest consumer, the auditor or the notifier, has not acknowledged them some seconds "
        "after they came; +Inf where nobody knows. Of more than 10,000 transactions at least so many. Up to 1,000 are "
        "normal under load. Alert if it stays above.",
    ),
    Definition(
        "plaudit_unreadable_events", "counter", None, "Events this version fails to read. Alert above 0."
    ),
    Definition(
        "plaudit_consumer_lag_events",
        "gauge",
        "role, partition",
        "Cluster: events that a worker has not handled yet, of each partition it reads.",
    ),
    Definition(
        "plaudit_consumer_lag_seconds",
        "gauge",
        "role, partition",
        "Cluster: age of the oldest event that a worker has not handled yet, of each partition it reads.",
    ),
    Definition(
        "plaudit_events_consumed", "counter", "role", "Cluster: events handled, repetitions included."
    ),
    Definition(
        "plaudit_events_quarantined",
        "counter",
        "role",
        "Events that could not be read or handled and were put aside; in the embedded profile targets and windows too. "
        "Alert above 0.",
    ),
    Definition(
        "plaudit_consumer_retries",
        "counter",
        "role",
        "Cluster: batches of events that failed and were handed over again.",
    ),
    Definition(
        "plaudit_consumer_replays",
        "counter",
        "role",
        "Cluster: times a worker went back because its store may have forgotten its last moments.",
    ),
    Definition("plaudit_jobs_failed", "counter", None, "Deletions and erasures that failed. Alert above 0."),
    Definition(
        "plaudit_jobs_waiting_seconds",
        "gauge",
        None,
        "How long the deletion or erasure that waits for longest has made no step. Alert above 1,800.",
    ),
    Definition(
        "plaudit_audited", "counter", None, "Targets whose header the auditor compared with their rows."
    ),
    Definition(
        "plaudit_lists_not_audited", "counter", None, "Cluster: large targets audited without their lists."
    ),
    Definition(
        "plaudit_drift", "counter", None, "Targets whose header did not equal their rows. Alert above 0."
    ),
    Definition(
        "plaudit_derived_drift",
        "counter",
        "store",
        "Cluster: what the auditor found disagreeing with the ledger, by derived store: `totals` in Redis, `flushed` "
        "ones, `lists` of reactors, `index` of each user, `jobs` that delete a target. Alert above 0.",
    ),
    Definition(
        "plaudit_notifications",
        "counter",
        "outcome",
        "Windows that ended, by what came of them: `told`, `muted` by the owner's wish, `nothing` left to tell. "
        "`unowned`: taps on targets without an owner.",
    ),
    Definition(
        "plaudit_notifier_behind",
        "gauge",
        None,
        "The same of the notifier alone: owners are not told of them yet. Alert if it stays above 0.",
    ),
    Definition(
        "plaudit_windows_late_seconds",
        "gauge",
        None,
        "How long ago the oldest window ended that is still to be told; +Inf where nobody knows. Alert above 60.",
    ),
    Definition(
        "plaudit_pushes",
        "counter",
        "reason",
        "Tries to push a message, by what came of them (docs/notifications.md).",
    ),
    Definition("plaudit_pushes_waiting", "gauge", None, "Pushes under way."),
    Definition(
        "plaudit_dead_letters", "gauge", None, "Pushes that were given up. See `plaudit notifications`."
    ),
)
_GAUGES = {definition.name for definition in METRICS if definition.kind == "gauge"}

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
TAPS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Histogram:
    """Counts of values by upper bound."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts, as Prometheus wants them."""
        total = 0
        result = []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            result.append((bound, float(total)))
        return result


class Metrics:
    """What this process counts. Only the event loop writes here.

    Each counter and histogram of the table is kept under its name without `plaudit_`, by its label if it has one.
    """

    def __init__(self) -> None:
        self.taps: dict[str, int] = {}
        self.requests: dict[int, int] = {}
        self.request_seconds: dict[str, Histogram] = {}
        self.commits = 0
        self.commits_refused = 0
        self.splits = 0
        self.recovered = 0
        self.debts_paid = 0
        self.batch_taps = Histogram(TAPS)
        self.refills = 0
        self.degraded_reads = 0
        self.damaged_reads = 0
        self.stream_events = 0
        self.stream_slow = 0
        self.audited = 0
        self.lists_not_audited = 0
        self.unreadable_events = 0
        self.jobs_failed = 0
        self.job_waits: dict[str, float] = {}  # since when jobs make no step: of all that carry out some here
        self.drift = 0
        self.derived_drift: dict[str, int] = {}
        self.notifications: dict[str, int] = {}
        self.pushes: dict[str, int] = {}
        self.events_consumed: dict[str, int] = {}
        self.events_quarantined: dict[str, int] = {}
        self.consumer_retries: dict[str, int] = {}
        self.consumer_replays: dict[str, int] = {}
        self._gauges: dict[str, list[Callable[[], Mapping[tuple[str, ...], float]]]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def tap(self, outcome: str) -> None:
        """Count an answered tap under its outcome or its error code."""
        self.taps[outcome] = self.taps.get(outcome, 0) + 1

    def answered(self, call: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests[status] = self.requests.get(status, 0) + 1
        histogram = self.request_seconds.get(call)
        if histogram is None:
            histogram = self.request_seconds[call] = Histogram(SECONDS)
        histogram.observe(seconds)

    def found_damage(self) -> None:
        """Count a read that found the file damaged."""
        self.damaged_reads += 1

    def committed(self, cells: int, taps: int) -> None:
        """Count one transaction."""
        self.commits += cells
        self.batch_taps.observe(taps)

    def derived_drifted(self, store: str, count: int = 1) -> None:
        """Count things in a derived store that disagreed with the ledger. 0: show it all the same (see `begins`)."""
        self.derived_drift[store] = self.derived_drift.get(store, 0) + count

    def notified(self, outcome: str, count: int = 1) -> None:
        """Count windows that ended that way."""
        self.notifications[outcome] = self.notifications.get(outcome, 0) + count

    def pushed(self, reason: str) -> None:
        """Count a try to push."""
        self.pushes[reason] = self.pushes.get(reason, 0) + 1

    def begins(self, role: str) -> None:
        """Show what this role counts before there is any of it: a counter that is born at 1 has not increased, so no
        alert would tell of the first."""
        for counts in (self.events_consumed, self.events_quarantined, self.consumer_retries):
            counts.setdefault(role, 0)
        self.consumer_replays.setdefault(role, 0)

    def consumed(self, role: str, count: int) -> None:
        """Count events that a worker of this role handled."""
        self.events_consumed[role] = self.events_consumed.get(role, 0) + count

    def quarantined(self, role: str, count: int = 1) -> None:
        """Count what was put aside."""
        self.events_quarantined[role] = self.events_quarantined.get(role, 0) + count

    def retried(self, role: str) -> None:
        """Count a batch of events that failed and comes again."""
        self.consumer_retries[role] = self.consumer_retries.get(role, 0) + 1

    def went_back(self, role: str) -> None:
        """Count a worker that does its last work again."""
        self.consumer_replays[role] = self.consumer_replays.get(role, 0) + 1

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Have `read` called whenever metrics are asked for."""
        _check_gauge(name)
        self._gauges[name] = [lambda: {(): read()}]

    def labelled(self, name: str, read: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        """Have `read` called whenever metrics are asked for: a value for each combination of the gauge's labels.
        Several may be read for one name; their labels must differ."""
        _check_gauge(name)
        self._gauges.setdefault(name, []).append(read)

    def render(self) -> bytes:
        """The Prometheus text exposition format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What the Prometheus client asks a collector: the table, but for gauges that nobody set here."""
        for definition in METRICS:
            if definition.kind == "counter":
                yield self._counter(definition)
            elif definition.kind == "histogram":
                yield self._histogram(definition)
            elif definition.name in self._gauges:
                yield self._gauge(definition)

    def _counter(self, definition: Definition) -> Metric:
        family = CounterMetricFamily(definition.name, definition.help, labels=definition.labels)
        for label, value in self._kept(definition).items():
            family.add_metric([str(label)], value)
        return family

    def _histogram(self, definition: Definition) -> Metric:
        family = HistogramMetricFamily(definition.name, definition.help, labels=definition.labels)
        for label, value in self._kept(definition).items():
            family.add_metric([str(label)], value.buckets(), value.sum)
        return family

    def _gauge(self, definition: Definition) -> Metric:
        family = GaugeMetricFamily(definition.name, definition.help, labels=definition.labels)
        for read in self._gauges[definition.name]:
            for labels, value in read().items():
                family.add_metric(labels, value)
        return family

    def _kept(self, definition: Definition) -> dict[Any, Any]:
        """What is counted under the name of this metric, by its label."""
        kept = getattr(self, definition.name.removeprefix("plaudit_"))
        return kept if definition.label else {"": kept}


def _check_gauge(name: str) -> None:
    if name not in _GAUGES:
        raise ValueError(f"{name} is not a gauge")
