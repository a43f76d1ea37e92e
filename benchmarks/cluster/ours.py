"""Ours, and the plain design in its place, over HTTP, with every consumer in a process of its own."""

import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.cluster import freshness, mix
from benchmarks.cluster.engines import Place, Unused, folder_bytes
from benchmarks.cluster.processes import Meter
from benchmarks.cluster.service import Load, api, migrate, token, workers
from benchmarks.load import HERE, Round, Server, load, medians, running
from plaudit.http.server import free_port

Found = dict[str, dict[str, Any]]
WARM_S = 5
LOOK_EVERY_S = 2.0
CATCH_UP_S = 120
SHARE_OF_PEAK = 0.8
FRESH_S = 30
READ_ROUNDS, READ_S = 3, 4
IDS_PER_CALL = 100
_LAG = re.compile(rb"^plaudit_consumer_lag_seconds{[^}]*} ([0-9.e+-]+)$", re.MULTILINE)


class Lag:
    """Looks at every worker now and then, and keeps how far behind each was at worst, in seconds."""

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = servers
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.worst_s: dict[str, float] = {}
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """What it was at worst."""
        self._stopping.set()
        self._thread.join()
        return self.worst_s

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            for role, server in self._servers.items():
                lag_s = _lag_s(server)
                if lag_s is not None:
                    self.worst_s[role] = max(lag_s, self.worst_s.get(role, 0.0))


def _lag_s(server: Server) -> float | None:
    """How far behind a worker is, in seconds; None if it follows nothing."""
    page = urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10).read()
    return max((float(found) for found in _LAG.findall(page)), default=None)


def _catch_up(working: Mapping[str, Server]) -> None:
    """Wait until nobody has anything left to do from before: it would be done at the cost of what is measured."""
    deadline_s = time.monotonic() + CATCH_UP_S
    while any((_lag_s(server) or 0.0) > 0 for server in working.values()):
        if time.monotonic() > deadline_s:
            raise SystemExit(f"the workers have not caught up in {CATCH_UP_S} s")
        time.sleep(1)


def _meter(place: Place, server: Server, working: Mapping[str, Server]) -> Meter:
    """What every process of the service and of its engines uses."""
    return Meter(
        {
            "API": [server.pid],
            "Cassandra": [place.cassandra_pid],
            "Kafka": [place.kafka_pid],
            "Redis": place.redis_pids,
            **{role: [worker.pid] for role, worker in working.items()},
        }
    )


@contextmanager
def _service(place: Place, *, plain: bool = False) -> Iterator[tuple[Server, dict[str, Server]]]:
    """An API process and every worker."""
    migrate(place)
    with ExitStack() as stack:
        working = stack.enter_context(workers(place))
        server = stack.enter_context(api(place, plain=plain))
        _catch_up(working)
        yield server, working


def taps(place: Place, work: Iterable[tuple[mix.Spread, int, int, float]], *, plain: bool = False) -> Found:
    """Each of (spread, viral target, connections, seconds) in turn on one API process."""
    found: Found = {}
    label = "plain in place" if plain else "Plaudit"
    with _service(place, plain=plain) as (server, working):
        for spread, target, connections, seconds in work:
            sending = Load(place, spread, target)
            sending.run(server, connections, WARM_S)
            used, lag = _meter(place, server, working), Lag(working)
            figures = sending.run(server, connections, seconds)
            cpu = used.each_us(figures["taps"])
            found[f"{label}, {spread}, {connections}"] = {
                **figures,
                "cpu_us": cpu,
                "elsewhere": used.elsewhere(),
                "lag_s": lag.stop(),
            }
    return found


def fresh(place: Place, peak: float) -> Found:
    """From a tap's answer to the new count through another API process, at a share of the peak; and what a tap adds to
    each store.
    """
    connections, rate = 256, peak * SHARE_OF_PEAK
    with _service(place) as (here, working), api(place, name="api-2") as there:
        sending = Load(place, "uniform")
        sending.run(here, connections, WARM_S, rate)
        # What is flushed is what taps add; compaction of what was there before would hide it.
        place.nodetool("disableautocompaction")
        place.nodetool("stop", "COMPACTION")
        before = _sizes(place)
        with ExitStack() as stack:
            lag = Lag(working)
            stack.callback(lag.stop)
            seen: list[freshness.Figures] = []
            until_s = time.monotonic() + FRESH_S
            phase = Unused(place).phase("one")  # for the names of its users
            watching = threading.Thread(
                target=lambda: seen.append(freshness.watch(here, there, token(), phase, until_s))
            )
            watching.start()
            figures = sending.run(here, connections, FRESH_S, rate)
            watching.join()
        after = _sizes(place)
        place.nodetool("enableautocompaction")
    taps_ = figures["taps"] + seen[0].samples
    sizes = {name: (after[name] - was) / taps_ for name, was in before.items() if after[name] != was}
    offered = {"share_of_peak": figures["rate"] / peak, "taps_per_s": figures["rate"]}
    return {"freshness": {**seen[0]._asdict(), **offered}, "bytes per tap": sizes}


def _sizes(place: Place) -> dict[str, float]:
    """Bytes in each store, after what was in memory is written."""
    place.nodetool("flush")
    data = Path(place.folder, "cassandra-1", "data")
    found = {
        f"Cassandra {table.name.partition('-')[0]}": float(folder_bytes(table))
        for table in sorted([*data.glob("plaudit/*-*"), *data.glob("system/paxos-*")])
    }
    topics = Path(place.folder, "kafka-1", "data").glob("plaudit.reactions-*")
    found["Kafka"] = float(sum(file.stat().st_size for topic in topics for file in topic.glob("*.log")))
    found["Redis"] = float(sum(place.redis_bytes(node) for node in range(3)))
    return found


def reads(place: Place) -> Found:
    """Counts of 20 targets: hot, beside the floor of the same server; and of targets that only Redis has at hand."""
    migrate(place)
    floor_port = free_port("127.0.0.1")
    with (
        api(place) as server,
        running([sys.executable, "-m", "benchmarks.floor", str(floor_port)], floor_port) as floor,
    ):
        _bring_to_redis(server)
        rounds: dict[str, list[Round]] = {
            "floor JSON": [],
            "counts of 20, hot": [],
            "counts of 20, Redis": [],
        }
        for number in range(READ_ROUNDS + 1):
            for name, results in rounds.items():
                asked = floor if name == "floor JSON" else server
                result = _read(asked, "uniform" if name.endswith("Redis") else "hot", number)
                if number:
                    results.append(result)
    found: Found = {name: {"calls": medians(results)._asdict()} for name, results in rounds.items()}
    hot, at_most = (found[name]["calls"]["rate"] for name in ("counts of 20, hot", "floor JSON"))
    found["counts of 20, hot"]["of_floor"] = hot / at_most
    return found


def _read(server: Server, spread: str, number: int) -> Round:
    return load(
        server,
        "reads.lua",
        connections=64,
        seconds=READ_S if number else 2,
        TOKEN=token(),
        SEED=number,
        SPREAD=spread,
        CALL="counts",
        ROWS=mix.TARGETS,
        TARGETS=mix.TARGETS,
        BENCHMARKS=HERE,
    )


def _bring_to_redis(server: Server) -> None:
    """Ask for every target once."""
    for first in range(0, mix.TARGETS, IDS_PER_CALL):
        ids = ",".join(mix.name(target) for target in range(first, first + IDS_PER_CALL))
        urlopen(f"http://127.0.0.1:{server.port}/api/v1/reactions/counts?target_ids={ids}", timeout=30).read()
