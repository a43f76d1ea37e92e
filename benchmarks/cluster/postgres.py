"""Peer (ii): PostgreSQL with one function per toggle, driven by pgbench. Its own data folder and port; fsync is on."""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple, Self

from benchmarks.cluster import mix
from benchmarks.cluster.processes import cpu_s, group
from plaudit.http.server import free_port

HERE = Path(__file__).parent
BINARIES = Path("/usr/lib/postgresql")
CLIENTS = (16, 64)
# What a machine of this size gets: PGTune's figures for "online transactions", 8 GB of memory, SSD.
SETTINGS = {
    "shared_buffers": "2GB",
    "effective_cache_size": "6GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "512MB",
    "wal_buffers": "16MB",
    "min_wal_size": "2GB",
    "max_wal_size": "8GB",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "max_connections": "100",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}


class Figures(NamedTuple):
    """What a run of pgbench showed. CPU is of all server processes together, in microseconds per tap."""

    rate: float
    mean_ms: float
    clients: int
    cpu_us: float
    failed: int


class Postgres:
    """A server of our own; a context manager that starts, fills, stops and removes it."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # Where another user may go: PostgreSQL refuses to run as root, and /tmp may be memory, which has no fsync.
        self._folder = Path(mkdtemp(prefix="plaudit-bench-", dir="/var/tmp"))
        self._port = free_port("127.0.0.1")

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C")
        options = {**SETTINGS, "port": self._port, "listen_addresses": "127.0.0.1"}
        options["unix_socket_directories"] = self._folder
        lines = "".join(f"{key} = '{value}'\n" for key, value in options.items())
        with Path(self._data, "postgresql.conf").open("a") as conf:
            conf.write(lines)
        self._run("pg_ctl", "-D", self._data, "-w", "-l", str(self._folder / "log"), "start")
        self._run(
            "psql", *self._connect(), "-v", "ON_ERROR_STOP=1", *_variables(), "-f", str(HERE / "postgres.sql")
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def version(self) -> str:
        """As the server says it."""
        return self._run("psql", *self._connect(), "-Atc", "SHOW server_version").strip()

    def measure(self, spread: mix.Spread, clients: int, seconds: int) -> Figures:
        """The rate of taps with so many clients, each sending one when its last one is answered."""
        before_s = self._cpu_s()
        said = self._run(
            "pgbench",
            *self._connect(),
            "-n",
            *("-M", "prepared", "-j", "2", "-c", str(clients), "-T", str(seconds)),
            *(part for variable in _variables() for part in ("-D", variable) if variable != "-v"),
            *("-f", str(HERE / f"postgres_{spread}.pgbench")),
        )
        rate = float(_found(r"tps = ([\d.]+) \(without", said))
        taps = int(_found(r"transactions actually processed: (\d+)", said))
        failed = int(_found(r"number of failed transactions: (\d+)", said))
        latency = float(_found(r"latency average = ([\d.]+) ms", said))
        return Figures(rate, latency, clients, (self._cpu_s() - before_s) / taps * 1e6, failed)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _connect(self) -> Sequence[str]:
        return ["-h", "127.0.0.1", "-p", str(self._port), "-U", "postgres"]

    def _cpu_s(self) -> float:
        """Of the server and of every process it started; those that have ended are in the server's own figures."""
        pid = int(Path(self._data, "postmaster.pid").read_text().split()[0])
        return cpu_s(pid, children=True) + sum(map(cpu_s, group(pid)))

    def _run(self, program: str, *arguments: str) -> str:
        """What a program of PostgreSQL says, run by whoever may run it."""
        command = [str(self._binaries / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")
        return done.stdout


def binaries() -> Path | None:
    """The newest PostgreSQL that Debian has put here; None if there is none."""
    found = sorted(BINARIES.glob("*/bin/pgbench"))
    return found[-1].parent if found else None


def _variables() -> Sequence[str]:
    values = {
        "targets": mix.TARGETS,
        "per_target": mix.PER_TARGET,
        "viral": 1,
        "viral_rows": mix.VIRAL_ROWS,
    }
    return [part for key, value in values.items() for part in ("-v", f"{key}={value}")]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"pgbench said something else:\n{text}")
    return match[1]
