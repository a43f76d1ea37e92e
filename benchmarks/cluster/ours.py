"""Ours, and the plain design in its place, over HTTP."""

from typing import Any

from benchmarks.cluster import mix
from benchmarks.cluster.engines import Place
from benchmarks.cluster.processes import Meter
from benchmarks.cluster.service import Load, api, migrate

Found = dict[str, dict[str, Any]]
WARM_S = 8


def meter(place: Place, pid: int) -> Meter:
    """What every process of the service and of its engines uses."""
    return Meter(
        {
            "API": [pid],
            "Cassandra": [place.cassandra_pid],
            "Kafka": [place.kafka_pid],
            "Redis": place.redis_pids,
        }
    )


def taps(place: Place, work: list[tuple[mix.Spread, int, int, float]], *, plain: bool = False) -> Found:
    """Each of (spread, viral target, connections, seconds) in turn on one API process."""
    migrate(place)
    found: Found = {}
    label = "plain in place" if plain else "Plaudit"
    with api(place, plain=plain) as server:
        for spread, target, connections, seconds in work:
            load = Load(place, spread, target)
            load.run(server, connections, WARM_S)
            used = meter(place, server.pid)
            figures = load.run(server, connections, seconds)
            cpu = used.each_us(figures["taps"])
            found[f"{label}, {spread}, {connections}"] = {**figures, "cpu_us": cpu}
    return found
