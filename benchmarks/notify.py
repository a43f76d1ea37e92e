"""`python -m benchmarks.notify`: what following the log costs, and how soon the last of many messages is handed over.

Three measurements on a file on the disk of the checkout, every transaction fsync'd. Transitions over a million owned
targets (zipf), as commits write them, one to an event; then one on every target, so that a million windows are open;
then the end of ten thousand windows, pushed to a webhook receiver (granian, HTTP/2 with TLS) in a process of its own on
the same cores. Prints a table and keeps it in benchmarks/results/notify.json.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import socket
import subprocess
import sys
import tempfile
import time
from bisect import bisect
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any

import apsw
import trustme
import uvloop
from rich.console import Console
from rich.table import Table

from plaudit.adapters.push import PushClient, Webhook
from plaudit.adapters.sqlite import (
    Database,
    Numbers,
    SqliteAudience,
    SqliteBatches,
    SqliteDeliveries,
    SqliteDirectory,
    SqliteInbox,
    SqliteLists,
    SqliteLog,
)
from plaudit.adapters.sqlite.rows import write_events
from plaudit.adapters.system import SystemClock
from plaudit.domain.catalogue import Catalogue, Registration
from plaudit.domain.cell import Header, Transition
from plaudit.domain.events import committed
from plaudit.domain.windows import Pace
from plaudit.services.deliver import Deliver
from plaudit.services.notify import Notify
from plaudit.services.tell import Sources, Tell
from plaudit.services.wording import Wording
from plaudit.telemetry import Metrics

HERE = Path(__file__).parent
PER_LINE = 64
KEY = b"k" * 32

_TARGETS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
INSERT INTO target (no, id, seq, type, counts, rows, last_at, born, recent, deleted, registered, owner)
SELECT i, 'post:' || i, 1, 'post', '[]', 0, 0, 0, '[]', 0, 1, 'owner' || i FROM n
"""
_ROWS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
INSERT INTO reaction_row (target, user, reaction, created_at, age) SELECT i, 'user-' || i, 1, 1, 0 FROM n
"""


class Late:
    """The system's clock, set forward."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self.ahead_us = 0

    def now_us(self) -> int:
        """Microseconds UTC, and what it is ahead."""
        return self._system.now_us() + self.ahead_us

    def monotonic_s(self) -> float:
        """Seconds that never go back."""
        return self._system.monotonic_s()


def zipf(targets: int, count: int) -> list[int]:
    """Numbers of targets, the first by far the most common."""
    chance, weights = random.Random(2), list(accumulate(1 / n for n in range(1, targets + 1)))
    return [1 + bisect(weights, chance.random() * weights[-1]) for _ in range(count)]


def log_of(connection: apsw.Connection, numbers: list[int], now: int) -> None:
    """The events of one commit each, as the ledger writes them."""
    seqs: dict[int, int] = {}
    bodies: list[bytes] = []
    with connection:
        for i, number in enumerate(numbers):
            seq = seqs[number] = seqs.get(number, 1) + 1
            at = now + i
            user = f"user-{number if len(seqs) == i + 1 else i}"
            header = Header(seq, "post", (seq,), seq, at, at, ((user, 1),))
            tap, owned = Transition(user, 0, 1, at, at), Registration(type="post", owner=f"owner{number}")
            bodies.append(committed(f"post:{number}", header, "tap", [tap], registration=owned))
            if len(bodies) == PER_LINE:
                write_events(connection, bodies)
                bodies.clear()
        write_events(connection, bodies)


class Store:
    """A notifier over a file with so many owned targets."""

    def __init__(self, database: Database, clock: Late) -> None:
        self.database = database
        self.clock = clock
        self.made = asyncio.Event()
        numbers = Numbers(database)
        self.lists = SqliteLists(database)
        self.directory = SqliteDirectory(database, numbers)
        self.deliveries = SqliteDeliveries(database, clock)
        metrics = Metrics()
        tell = Tell(
            SqliteBatches(database, clock),
            Sources(self.lists, self.lists, self.directory, SqliteAudience(database)),
            SqliteInbox(database),
            clock,
            metrics,
            pace=Pace(),
            channels=["webhook"],
            made=self.made,
        )
        self.notify = Notify(SqliteLog(database), tell, clock, metrics)

    async def follow(self, numbers: list[int]) -> dict[str, float]:
        """Write these transitions into the log and follow them; what that cost."""
        now = self.clock.now_us()
        await self.database.write(lambda connection: connection.execute("DELETE FROM event").fetchall())
        connection = apsw.Connection(str(self.database.path))
        connection.pragma("synchronous", 0)
        log_of(connection, numbers, now)
        connection.close()
        cpu_s, loop_s, started = time.process_time(), time.thread_time(), time.perf_counter()
        while await self.notify.follow():
            pass
        return {
            "transitions": len(numbers),
            "seconds": time.perf_counter() - started,
            "cpu_s": time.process_time() - cpu_s,
            "notifier_cpu_s": time.thread_time() - loop_s,
        }


async def follow_all(folder: Path, targets: int, transitions: int) -> list[dict[str, Any]]:
    """The first two measurements."""
    clock, found = Late(), []
    async with Database(folder) as database:
        await database.write(lambda connection: connection.execute(_TARGETS, (targets,)).fetchall())
        store = Store(database, clock)
        before = _size(database)
        cost = await store.follow(zipf(targets, transitions))
        open_ = await _watches(database)
        found.append({"what": f"zipf over {targets:,} targets", **cost, "open": open_})
        clock.ahead_us += 10_000_000
        numbers = list(range(1, targets + 1))
        random.Random(3).shuffle(numbers)
        cost = await store.follow(numbers)
        found.append({"what": "one on every target", **cost, "open": await _watches(database)})
        found[-1]["bytes_each"] = (await _watch_bytes(database)) / max(1, await _watches(database))
        found[-1]["resident_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found[-1]["file_grew_mb"] = (_size(database) - before) / 1e6
    return found


async def _watches(database: Database) -> int:
    return await database.read(
        lambda c: int(c.execute("SELECT count(*) FROM watch WHERE due IS NOT NULL").get)
    )


async def _watch_bytes(database: Database) -> int:
    sql = "SELECT sum(pgsize) FROM dbstat WHERE name IN ('watch', 'watch_due', 'watch_forget')"
    try:
        return await database.read(lambda c: int(c.execute(sql).get))
    except Exception:  # built without dbstat: what is stored, without the pages' own
        sizes = "SELECT sum(length(state) + 40) FROM watch"
        return await database.read(lambda c: int(c.execute(sizes).get))


def _size(database: Database) -> int:
    return sum(file.stat().st_size for file in database.folder.glob("plaudit.db*"))


@contextmanager
def receiver(folder: Path) -> Iterator[tuple[str, bytes, Path]]:
    """A webhook receiver that counts, in a process of its own."""
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    chain, key, tally = folder / "chain.pem", folder / "key.pem", folder / "tally"
    made.private_key_pem.write_to_path(str(key))
    chain.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.receiver", str(port), str(chain), str(key), str(tally)]
    process = subprocess.Popen(command)
    try:
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f"https://localhost:{port}", authority.cert_pem.bytes(), tally
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def pushing(store: Store, url: str, authorities: bytes) -> Any:
    async with PushClient(authorities, store.clock, private=True) as client:
        sender = Webhook(client, store.clock, url, [KEY])
        deliver = Deliver(
            store.deliveries,
            store.directory,
            [sender],
            Wording(),
            Catalogue(),
            store.clock,
            Metrics(),
            store.made,
        )
        async with deliver:
            yield


async def end_of_windows(folder: Path, due: int) -> dict[str, Any]:
    """The third measurement."""
    clock = Late()
    (folder / "data").mkdir(parents=True)
    async with Database(folder / "data") as database:
        await database.write(lambda connection: connection.execute(_TARGETS, (due,)).fetchall())
        await database.write(lambda connection: connection.execute(_ROWS, (due,)).fetchall())
        store = Store(database, clock)
        await store.follow(list(range(1, due + 1)))
        with receiver(folder) as (url, authorities, tally):
            async with pushing(store, url, authorities):
                clock.ahead_us += 31_000_000
                cpu_s, started = time.process_time(), time.perf_counter()
                await store.notify.follow()
                while await store.notify.close():
                    pass
                closed_s = time.perf_counter() - started
                while (count := int(tally.read_text() or 0) if tally.exists() else 0) < due:
                    assert time.perf_counter() - started < 120, f"{count} of {due} after two minutes"
                    await asyncio.sleep(0.02)
                handed_s = time.perf_counter() - started
                cpu_s = time.process_time() - cpu_s
    return {"due": due, "in_inbox_s": closed_s, "handed_over_s": handed_s, "cpu_s": cpu_s}


def show(console: Console, kept: dict[str, Any]) -> None:
    table = Table(
        "followed", "transitions", "per second", "per core", "per core, store apart", title=kept["machine"]
    )
    for cost in kept["followed"]:
        count = cost["transitions"]
        table.add_row(
            cost["what"],
            f"{count:,}",
            f"{count / cost['seconds']:,.0f}",
            f"{count / cost['cpu_s']:,.0f}",
            f"{count / cost['notifier_cpu_s']:,.0f}",
        )
    console.print(table)
    last, end = kept["followed"][-1], kept["end"]
    console.print(
        f"{last['open']:,} windows open: {last['bytes_each']:.0f} bytes on disk each, "
        f"{last['resident_mb']:.0f} MB resident at most"
    )
    console.print(
        f"{end['due']:,} windows end: all in the inbox after {end['in_inbox_s']:.2f} s, the last handed over after "
        f"{end['handed_over_s']:.2f} s ({end['cpu_s']:.2f} s of CPU)"
    )


def main() -> None:
    """Measure what is asked for, keep the rest as it was, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["follow", "end"], help="one of the two; the other figures stay")
    parser.add_argument("--targets", type=int, default=1_000_000)
    parser.add_argument("--transitions", type=int, default=300_000)
    parser.add_argument("--due", type=int, default=10_000)
    options = parser.parse_args()
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, apsw {version('apsw')}, pyreqwest {version('pyreqwest')}"
    )
    results = HERE / "results" / "notify.json"
    kept = json.loads(results.read_text()) if results.exists() else {}
    kept |= {"machine": machine, "at": f"{datetime.now(UTC):%Y-%m-%d}"}
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".run-") as name:
        folder = Path(name)
        if options.only != "follow":
            kept["end"] = uvloop.run(end_of_windows(folder / "end", options.due))
        if options.only != "end":
            kept["followed"] = uvloop.run(follow_all(folder / "follow", options.targets, options.transitions))
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps(kept, indent=2) + "\n")
    show(Console(width=120), kept)


if __name__ == "__main__":
    main()
