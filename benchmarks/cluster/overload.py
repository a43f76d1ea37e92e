"""`python -m benchmarks.cluster.overload`: one target offered ten times what its commits take, beside many quiet ones.

On real engines and one API process, in four minutes. Results go to benchmarks/results/overload.json and
docs/overload.md.
"""

import re
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any
from urllib.request import urlopen

from rich.console import Console

from benchmarks.cluster import overload_page
from benchmarks.cluster.engines import Place, engines
from benchmarks.cluster.held import NO_OP, SLOW
from benchmarks.cluster.processes import Meter, cpu_s, everything
from benchmarks.cluster.service import Load, environment, migrate, token
from benchmarks.load import Server, running
from benchmarks.open_loop import Answered, Offered, offer
from plaudit.domain.cell import MAX_USERS_PER_COMMIT
from plaudit.http.server import free_port

TIMES = 10
OF_NO_OP = 0.2  # of what the process takes where commits do nothing, so much is offered
USERS = 16  # of a commit that is held down
AT_ONCE_S = 0.5
QUIET_PER_S, QUIET_TARGETS = 100, 500
FEW_PER_S = 10  # on the viral target itself, before and after too
# Java compiles what it does often, for minutes: taps until the stores need no less CPU for one than a round before.
WARM_PER_S, WARM_S, WARM_ROUNDS, STEADY = 400, 10, 10, 0.9
NO_OP_S = 5
BEFORE_S, OVER_S, AFTER_S = 20, 60, 25
SETTLED_S, QUIET_S = 5, 15  # so long after a change it is looked at, and so long where nothing else goes on
_WAITING = re.compile(rb"^plaudit_taps_waiting ([0-9.e+]+)$", re.MULTILINE)

Found = dict[str, Any]


def taps(name: str, targets: Sequence[str], count: int) -> list[bytes]:
    """Taps of new users on these targets in turn; `name` makes users and keys their own."""
    bearer = token().encode()
    found = []
    for n in range(count):
        body = b'{"target_id":"%b","reaction_type":"love"}' % targets[n % len(targets)].encode()
        found.append(
            b"PUT /api/v1/reactions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nAuthorization: Bearer %b\r\nPlaudit-User: %b%09d\r\n"
            b"Idempotency-Key: %b%09d\r\n\r\n%b"
            % (len(body), bearer, name.encode(), n, name.encode(), n, body)
        )
    return found


def stream(
    port: int, name: str, targets: Sequence[str], rate: float, seconds: float, connections: int
) -> Offered:
    """Offer taps from a process of its own."""
    return offer(port, rate, seconds, connections, taps(name, targets, round(rate * seconds) + 1))


@contextmanager
def api(place: Place, held_s: float = 0.0, users: int = MAX_USERS_PER_COMMIT) -> Iterator[Server]:
    """An API process over a ledger that is held down."""
    port = free_port("127.0.0.1")
    env = {
        **environment(place, "api"),
        "PLAUDIT_PORT": str(port),
        "HELD_S": str(held_s),
        "HELD_USERS": str(users),
    }
    with running([sys.executable, "-m", "benchmarks.cluster.held"], port, **env) as server:
        yield server


def warm(place: Place, port: int, pool: ProcessPoolExecutor, targets: Sequence[str]) -> list[float]:
    """Tap until it is as quick as it gets; milliseconds of the stores' CPU for a stored tap, by round."""
    spent_ms: list[float] = []
    while len(spent_ms) < WARM_ROUNDS and (len(spent_ms) < 3 or spent_ms[-1] < STEADY * spent_ms[-2]):
        meter, name = Meter({"stores": [place.cassandra_pid, place.kafka_pid]}), f"w{len(spent_ms)}"
        answers, _ = pool.submit(stream, port, name, targets, WARM_PER_S, WARM_S, 128).result()
        spent_ms.append(meter.each_us(sum(answer.status == 200 for answer in answers))["stores"] / 1e3)
    return spent_ms


class Watch:
    """Looks once a second: at the memory of the process, at taps that wait, and at the CPU time of each part."""

    def __init__(self, server: Server, parts: Mapping[str, Sequence[int]]) -> None:
        self._server = server
        self._parts = parts
        self._stopping = threading.Event()
        self.seen: list[tuple[float, float, float]] = []  # perf_counter seconds, MB, taps
        self.spent: list[tuple[float, dict[str, float]]] = []  # perf_counter seconds, CPU seconds so far
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> list[tuple[float, float, float]]:
        """What was seen."""
        self._stopping.set()
        self._thread.join()
        return self.seen

    def _look(self) -> None:
        while not self._stopping.wait(1):
            page = urlopen(f"http://127.0.0.1:{self._server.port}/metrics", timeout=30).read()
            waiting = float(_WAITING.search(page)[1])  # type: ignore[index] # it is always there
            now_s = time.perf_counter()
            self.seen.append((now_s, self._server.resident_mb(), waiting))
            self.spent.append((now_s, {name: sum(map(cpu_s, pids)) for name, pids in self._parts.items()}))

    def cores(self, from_s: float, to_s: float) -> dict[str, float]:
        """How many cores each part used between these times."""
        (began_s, before), *_, (ended_s, after) = (each for each in self.spent if from_s <= each[0] < to_s)
        return {name: (spent_s - before[name]) / (ended_s - began_s) for name, spent_s in after.items()}


def latency(answers: Iterable[Answered], part: tuple[float, float]) -> Found:
    """Of the taps that were stored, of those that were due in this time; milliseconds."""
    due = [answer for answer in answers if part[0] <= answer.due_s < part[1]]
    stored = sorted(answer.latency_s * 1e3 for answer in due if answer.status == 200)
    if not stored:
        return {"taps": len(due), "stored": 0}
    share = {f"p{share}_ms": stored[int(len(stored) * share / 100)] for share in (50, 99)}
    return {"taps": len(due), "stored": len(stored), "max_ms": stored[-1], **share}


def measure(place: Place) -> Found:
    """Everything: warm up, the no-op rate, then quiet, overload, quiet."""
    migrate(place)
    quiet, whole_s = [f"q{n:06d}" for n in range(QUIET_TARGETS)], BEFORE_S + OVER_S + AFTER_S
    with ProcessPoolExecutor(3, get_context("spawn")) as pool:
        list(pool.map(time.sleep, [0.5] * 3))  # all of them are there before the meter looks
        with api(place) as server:
            spent_ms = warm(place, server.port, pool, [*quiet, *[SLOW] * 100])
            no_op = Load(place, "one", NO_OP).run(server, 256, NO_OP_S)["rate"]
        offered = no_op * OF_NO_OP
        held_s = TIMES * USERS / offered
        with api(place, held_s, USERS) as server:
            port = server.port
            meter, watch = Meter({"all": everything(place)}), Watch(server, _parts(place, server))
            others = pool.submit(stream, port, "q", quiet, QUIET_PER_S, whole_s, 128)
            few = pool.submit(stream, port, "f", [SLOW], FEW_PER_S, whole_s, 64)
            time.sleep(BEFORE_S)
            crowd = pool.submit(stream, port, "c", [SLOW], offered, OVER_S, 1024)
            figures = _figures(others, few, crowd, watch)
            figures["elsewhere"] = meter.elsewhere()
    found = {"no_op": no_op, "offered_per_s": offered, "held_s": held_s, "users": USERS, "warm_ms": spent_ms}
    return found | figures


def _parts(place: Place, server: Server) -> dict[str, list[int]]:
    stores = {"Cassandra": [place.cassandra_pid], "Kafka": [place.kafka_pid], "Redis": place.redis_pids}
    known = {server.pid, *(pid for pids in stores.values() for pid in pids)}
    return {"API": [server.pid], **stores, "load": [pid for pid in everything(place) if pid not in known]}


def _figures(
    others: "Future[Offered]",
    few: "Future[Offered]",
    crowd: "Future[Offered]",
    watch: Watch,
) -> Found:
    (quiet, unanswered), (same, _), (viral, _) = others.result(), few.result(), crowd.result()
    seen = watch.stop()
    began_s, ended_s = min(answer.due_s for answer in viral), max(answer.due_s for answer in viral)
    parts = {
        "before": (began_s - QUIET_S, began_s),
        "during": (began_s + SETTLED_S, ended_s),
        "after": (ended_s + SETTLED_S, ended_s + SETTLED_S + QUIET_S),
    }
    refused = [answer.latency_s for answer in viral if answer.status == 503]
    at_once = [latency_s for latency_s in refused if latency_s < AT_ONCE_S]
    stored = sum(answer.status == 200 for answer in viral)
    memory = {
        name: max(mb for at_s, mb, _ in seen if from_s <= at_s < to_s)
        for name, (from_s, to_s) in parts.items()
    }
    return {
        "others": {name: latency(quiet, part) for name, part in parts.items()},
        "same target": {name: latency(same, part) for name, part in parts.items()},
        "others_failed": sum(answer.status != 200 for answer in quiet) + unanswered,
        "viral": {
            "answered_per_s": len(viral) / OVER_S,
            "stored_per_s": stored / OVER_S,
            "refused_at_once": len(at_once) / len(viral),
            "refused_late": (len(refused) - len(at_once)) / len(viral),
            "refused_p50_ms": statistics.median(at_once) * 1e3,
            "statuses": dict(Counter(str(answer.status) for answer in viral)),
            **latency(viral, parts["during"]),
        },
        "memory_mb": memory,
        "cores": {name: watch.cores(*part) for name, part in parts.items()},
        "waiting_max": max(taps for _, _, taps in seen),
    }


def main() -> None:
    """Start, measure, print, keep."""
    console = Console(width=120)
    with engines() as place:
        overload_page.keep(console, "overload", measure(place))


if __name__ == "__main__":
    main()
