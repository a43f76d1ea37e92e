"""A client that behaves: what others notice of an attack. `python -m tests.fuzz.gentle PORT TOKEN SECONDS`.

Runs in a process of its own, so that it never waits for the attackers' interpreter. Taps and reads in turn over one
connection, every tenth pair over a new one, and prints the p99 in milliseconds.
"""

import json
import sys
import time
from http.client import HTTPConnection

PAIRS_PER_CONNECTION = 10
WITHIN_S = 20.0
WARM_UP = 40


def measure(port: int, token: str, seconds: float) -> float:
    """The p99 in milliseconds. Raises `AssertionError` for any answer but 200."""
    latencies: list[float] = []
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    pair = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends or len(latencies) <= WARM_UP:
        started = time.perf_counter()
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
                latencies.append(time.perf_counter() - started)
                started = time.perf_counter()
        connection.close()
    steady = sorted(latencies[WARM_UP:])
    return steady[int(len(steady) * 0.99)] * 1e3


if __name__ == "__main__":
    sys.stdout.write(f"{measure(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])):.3f}\n")
