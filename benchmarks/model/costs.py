"""What an operation costs: CPU µs of each process, from the measurements of `benchmarks/results/`, and delays.

Where two cases give two unknowns (per commit and per row, say) they are solved for; `tests/benchmarks/test_model.py`
holds what the model makes of these numbers against what was measured.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parents[1] / "results"


class Costs(NamedTuple):
    """CPU in µs, delays in ms. "From": the file and cases that a number is solved from."""

    # Cassandra, each replica. cells.json: known · read first · 64 and 128 users.
    commit: float = 780.0
    row: float = 43.0
    read: float = 122.0
    read_row: float = 9.0
    # The same, for what the workers write of an event and of each row: cluster.json, uniform and one, less the above.
    index_event: float = 70.0
    index_row: float = 150.0
    # An API process. cells.json; `http` and `publish` cluster.json, uniform and one, less the above.
    api_read: float = 95.0
    api_commit: float = 163.0
    api_row: float = 11.0
    http: float = 118.0  # a tap's request and answer
    publish: float = 100.0  # an event: encoding, the driver's threads, its acknowledgement
    refuse: float = 33.0  # a request that is answered with 503: full.json, floor POST
    # Kafka, the leader; a follower half of it (assumed). cluster.json, uniform and one.
    event: float = 90.0
    event_row: float = 1.0
    # Workers: counters; index + notify + flush. cluster.json, uniform and one.
    update_event: float = 10.0
    update_cell: float = 35.0
    worker_event: float = 180.0
    worker_row: float = 48.0
    # Redis: totals; own state and windows. cluster.json, uniform and one. A get is assumed: no run tells it apart.
    put: float = 34.0
    own_row: float = 42.0
    get: float = 2.0
    # Reads: a call that the near cache answers; what asking Redis adds, and each key that is asked for. cluster.json:
    # floor JSON (as dear as counts of 20 in full.json), and Redis (all 20 keys, several calls together).
    call: float = 35.0
    ask: float = 30.0
    ask_key: float = 15.0
    # Delays, and the share of a commit's CPU that its answer waits for.
    on_path: float = 0.45
    sync_ms: float = 0.4  # commit log, each round
    ack_ms: float = 2.0  # Kafka, besides its CPU


def measured(name: str) -> dict[str, Any]:
    """A committed measurement by file name."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return found
