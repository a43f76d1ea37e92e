"""Freshness: from a tap's answer to the new count through another API process, while a load goes on.

The other process has shown the target just before, so that it cannot help itself by reading it for the first time.
"""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import count
from typing import Any, NamedTuple

from benchmarks.cluster import mix
from benchmarks.load import Server

WATCHERS = 4
POLL_S = 0.004
GIVE_UP_S = 20.0


class Figures(NamedTuple):
    """How long it took, in milliseconds. `failed`: taps that were not answered, and counts that never came."""

    samples: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    failed: int


def watch(here: Server, there: Server, token: str, phase: int, until_s: float) -> Figures:
    """Tap `here` and look `there`, again and again, until the monotonic time `until_s`."""
    with ThreadPoolExecutor(WATCHERS) as pool:
        seen = pool.map(lambda n: _watcher(here, there, token, (phase, n), until_s), range(WATCHERS))
        took = [each for some in seen for each in some]
    good = sorted(each for each in took if each is not None) or [0.0]
    p50, p99 = (good[int(len(good) * share)] * 1e3 for share in (0.50, 0.99))
    return Figures(len(good), p50, p99, good[-1] * 1e3, len(took) - len(good))


def _watcher(
    here: Server, there: Server, token: str, who: tuple[int, int], until_s: float
) -> list[float | None]:
    chance, took = random.Random(who[1]), []
    phase, watcher = who
    tap_to, look_at = (
        HTTPConnection("127.0.0.1", server.port, timeout=GIVE_UP_S) for server in (here, there)
    )
    for n in count():
        if time.monotonic() > until_s:
            break
        target = mix.name(chance.randrange(mix.TARGETS))
        user = f"u{(phase + 1) * mix.NEW_USERS + 500_000 * (watcher + 2) + n:09d}"
        _version(look_at, target)
        version = _tap(tap_to, target, user, token)
        took.append(None if version is None else _until(look_at, target, version))
    return took


def _until(connection: HTTPConnection, target: str, version: int) -> float | None:
    """How many seconds it took to see this version or a newer one."""
    began_s = time.perf_counter()
    while time.perf_counter() - began_s < GIVE_UP_S:
        if _version(connection, target) >= version:
            return time.perf_counter() - began_s
        time.sleep(POLL_S)
    return None


def _version(connection: HTTPConnection, target: str) -> int:
    answer = _ask(connection, "GET", f"/api/v1/reactions/counts?target_ids={target}", None, {})
    return int(answer["counts"][target]["version"])


def _tap(connection: HTTPConnection, target: str, user: str, token: str) -> int | None:
    body = json.dumps({"target_id": target, "reaction_type": "wow"})
    headers = {"Authorization": f"Bearer {token}", "Plaudit-User": user, "Content-Type": "application/json"}
    answer = _ask(connection, "PUT", "/api/v1/reactions", body, headers)
    return int(answer["counts"]["version"]) if "counts" in answer else None


def _ask(
    connection: HTTPConnection, method: str, path: str, body: str | None, headers: dict[str, str]
) -> dict[str, Any]:
    connection.request(method, path, body, headers)
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    return answer
