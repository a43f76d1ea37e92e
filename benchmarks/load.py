"""Servers under load: start one, drive it with wrk, and read what it cost."""

import os
import re
import signal
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
RESULT = re.compile(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)")


class Round(NamedTuple):
    """One round of one case. Rates per second, latencies in milliseconds, CPU in microseconds per request."""

    rate: float
    p50_ms: float
    p99_ms: float
    errors: float
    cpu_us: float


class Server(NamedTuple):
    """A server process under load."""

    pid: int
    port: int

    def cpu_s(self) -> float:
        """CPU seconds it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Resident memory in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1000  # type: ignore[index] # Linux always has it


@contextmanager
def running(command: Sequence[str], port: int, **env: str) -> Iterator[Server]:
    """The server that `command` starts, until the block ends."""
    process = subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield Server(process.pid, port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def load(server: Server, script: str, *, connections: int, seconds: int, **env: object) -> Round:
    """Load the server with a wrk script for some seconds; `env` is what the script reads."""
    before = server.cpu_s()
    url = f"http://127.0.0.1:{server.port}"
    run = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / script), url],
        env={**os.environ, **{name: str(value) for name, value in env.items()}},
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    found = RESULT.search(run.stdout)
    if found is None:
        raise RuntimeError(f"wrk printed no result:\n{run.stdout}{run.stderr}")
    requests, duration_us, broken, refused, p50_us, p99_us = map(int, found.groups())
    cpu_us = (server.cpu_s() - before) * 1e6 / max(1, requests)
    return Round(requests / duration_us * 1e6, p50_us / 1e3, p99_us / 1e3, broken + refused, cpu_us)


def medians(rounds: Sequence[Round]) -> Round:
    """The median of each figure."""
    return Round(*(statistics.median(values) for values in zip(*rounds, strict=True)))
