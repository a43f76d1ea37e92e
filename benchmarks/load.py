"""Servers under load: start one, drive it with wrk, and read what it cost."""

import os
import re
import signal
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

HERE = Path(__file__).parent
RESULT = re.compile(r"RESULT((?: \d+)+)")


class Round(NamedTuple):
    """One round of one case. Rates per second, latencies in milliseconds, CPU in microseconds per request.

    `loop_us` is the part of `cpu_us` that the main thread used, which runs the event loop. The rest is the server's own
    threads and, for taps, the writer and the checkpointer.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    errors: float
    cpu_us: float
    loop_us: float


class Server(NamedTuple):
    """A server process under load."""

    pid: int
    port: int

    def cpu_s(self) -> float:
        """CPU seconds it has used so far."""
        return _cpu_s(f"/proc/{self.pid}")

    def loop_s(self) -> float:
        """CPU seconds its main thread has used so far."""
        return _cpu_s(f"/proc/{self.pid}/task/{self.pid}")

    def resident_mb(self) -> float:
        """Resident memory in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1000  # type: ignore[index] # Linux always has it


def _cpu_s(folder: str) -> float:
    fields = Path(folder, "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: Sequence[str], port: int, **env: str) -> Iterator[Server]:
    """The server that `command` starts, until the block ends."""
    with TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env={**os.environ, **env}, stderr=said)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).close()
                    break
                except OSError as error:
                    if time.monotonic() > deadline or process.poll() is not None:
                        said.seek(0)
                        raise RuntimeError(f"{command[-1]} does not start:\n{said.read()}") from error
                    time.sleep(0.05)
            yield Server(process.pid, port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wrk(
    url: str,
    script: str,
    *,
    connections: int,
    seconds: float,
    env: Mapping[str, object],
    timeout_s: float = 2,
) -> list[int]:
    """What a wrk script (a path below this folder) prints as its result; `env` is what it reads."""
    options = ["-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", f"{timeout_s:.0f}s"]
    run = subprocess.run(
        ["wrk", *options, "-s", str(HERE / script), url],
        env={**os.environ, **{name: str(value) for name, value in env.items()}},
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    found = RESULT.search(run.stdout)
    if found is None:
        raise RuntimeError(f"wrk printed no result:\n{run.stdout}{run.stderr}")
    return list(map(int, found[1].split()))


def load(server: Server, script: str, *, connections: int, seconds: int, **env: object) -> Round:
    """Load the server with a wrk script for some seconds; `env` is what the script reads."""
    before_s, loop_before_s = server.cpu_s(), server.loop_s()
    url = f"http://127.0.0.1:{server.port}"
    requests, duration_us, broken, refused, p50_us, p99_us = wrk(
        url, script, connections=connections, seconds=seconds, env=env
    )
    cpu_us, loop_us = (
        seconds * 1e6 / max(1, requests)
        for seconds in (server.cpu_s() - before_s, server.loop_s() - loop_before_s)
    )
    return Round(requests / duration_us * 1e6, p50_us / 1e3, p99_us / 1e3, broken + refused, cpu_us, loop_us)


def medians(rounds: Sequence[Round]) -> Round:
    """The median of each figure."""
    return Round(*(statistics.median(values) for values in zip(*rounds, strict=True)))
