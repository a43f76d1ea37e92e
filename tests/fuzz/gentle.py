"""A client that behaves: what others notice of an attack. `python -m tests.fuzz.gentle PORT PID TOKEN SECONDS`.

Runs in a process of its own, so that it never waits for the attackers' interpreter. Taps and reads in turn over one
connection, every tenth pair over a new one, and prints two p99s in milliseconds: of the time from request to answer,
and of the processor time that the server had in it. The second is the request's own work and all that the server did
before and beside it; unlike the first it has nothing of other programs, whose share of the machine nobody knows.
"""

import json
import sys
import time
from http.client import HTTPConnection

PAIRS_PER_CONNECTION = 10
WITHIN_S = 20.0
WARM_UP = 40


def measure(port: int, pid: int, token: str, seconds: float) -> tuple[float, float]:
    """Both p99s in milliseconds. Raises `AssertionError` for any answer but 200."""
    clock = (
        ~pid << 3 | 2
    )  # that of a process, all threads: clock_getcpuclockid(3), which Python does not have
    latencies: list[float] = []
    worked: list[float] = []
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    pair = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends or len(latencies) <= WARM_UP:
        started, from_s = time.perf_counter(), time.clock_gettime(clock)
        connection = HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
        for _ in range(PAIRS_PER_CONNECTION):
            pair += 1
            tap = {"target_id": f"gentle-{pair % 50}", "reaction_type": "love" if pair % 2 else None}
            for method, path, body in (
                ("PUT", "/api/v1/reactions", json.dumps(tap).encode()),
                ("GET", f"/api/v1/reactions/counts?target_ids=gentle-{pair % 50}", None),
            ):
                connection.request(method, path, body=body, headers=headers)
                with connection.getresponse() as response:
                    answer = response.read()
                    assert response.status == 200, answer
                ended, until_s = time.perf_counter(), time.clock_gettime(clock)
                latencies.append(ended - started)
                worked.append(until_s - from_s)
                started, from_s = ended, until_s
        connection.close()
    return _p99_ms(latencies), _p99_ms(worked)


def _p99_ms(seconds: list[float]) -> float:
    steady = sorted(seconds[WARM_UP:])
    return steady[int(len(steady) * 0.99)] * 1e3


if __name__ == "__main__":
    port, pid, token, seconds = sys.argv[1:]
    sys.stdout.write("{:.3f} {:.3f}\n".format(*measure(int(port), int(pid), token, float(seconds))))
