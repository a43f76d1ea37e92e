"""The real nginx with the configuration that is shipped, on a port and before processes of the caller's choosing."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.engines.node import free_ports
from tests.support.server import HOST, POLL_S

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx"
START_WITHIN_S = 60.0
# What belongs to a machine: where nginx may write, and how much it may open.
MAIN = """\
{user}
worker_processes {workers};
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
    {temporary}
    log_format owners '$request_method $plaudit_owner $upstream_addr';
    access_log {access};
    include plaudit.conf;
}}
"""
LISTEN = "    listen 80;\n"
WAITS = "    proxy_read_timeout 15s;\n"
MOUNT = "    # rewrite ^/plaudit(/.*)$ $1;\n"
SERVER = "server 127.0.0.1:{port} max_fails=2 fail_timeout=2s;\n"


def program() -> str | None:
    """Where nginx is; Debian keeps it off the PATH of users."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Nginx:
    """One nginx before the processes on these ports. Use as a context manager.

    `owners`: whether it writes down which process every request went to, for `log`. `silent_ms`: how long it waits for
    an answer, if not as long as is shipped. `mounted`: under /plaudit.
    """

    def __init__(
        self,
        folder: Path,
        ports: Sequence[int],
        *,
        owners: bool = False,
        workers: int = 1,
        silent_ms: int | None = None,
        mounted: bool = False,
    ) -> None:
        [self.port] = free_ports(1)
        self.url = f"http://{HOST}:{self.port}"
        self._folder = folder
        self._ports = ports
        self._owners = owners
        self._workers = workers
        self._silent_ms = silent_ms
        self._mounted = mounted
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._write()
        found = program()
        assert found is not None, "nginx is not installed"
        command = [
            found,
            "-p",
            f"{self._folder}/",
            "-c",
            "nginx.conf",
            "-e",
            "error.log",
            "-g",
            "daemon off;",
        ]
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + START_WITHIN_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._end()
                raise AssertionError(f"nginx does not listen:\n{self.errors}")
            time.sleep(POLL_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def pids(self) -> list[int]:
        """Its processes: the first, and those that do the work."""
        assert self._process is not None, "not started"
        first = self._process.pid
        return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]

    @property
    def errors(self) -> str:
        """What it complained of."""
        path = self._folder / "error.log"
        return path.read_text() if path.exists() else ""

    @property
    def log(self) -> list[tuple[str, str, list[int]]]:
        """Of every request that has ended: method, owner as it was asked for, and the ports it went to in turn."""
        found = []
        for line in (self._folder / "access.log").read_text().splitlines():
            method, owner, addresses = line.split(" ", 2)
            tried = [int(each.rpartition(":")[2]) for each in addresses.split(", ") if ":" in each]
            found.append((method, owner, tried))
        return found

    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        shipped = (SHIPPED / "plaudit.conf").read_text()
        assert shipped.count(LISTEN) == shipped.count(WAITS) == shipped.count(MOUNT) == 1
        if self._silent_ms is not None:
            shipped = shipped.replace(WAITS, f"    proxy_read_timeout {self._silent_ms}ms;\n")
        if self._mounted:
            shipped = shipped.replace(MOUNT, MOUNT.replace("# ", ""))
        listening = f"    listen {HOST}:{self.port} backlog=4096;\n"
        (self._folder / "plaudit.conf").write_text(shipped.replace(LISTEN, listening))
        servers = "".join(SERVER.format(port=port) for port in self._ports)
        (self._folder / "plaudit-servers.conf").write_text(servers)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        main = MAIN.format(
            user="user root;" if os.geteuid() == 0 else "",  # the folders of tests are their user's alone
            workers=self._workers,
            folder=self._folder,
            temporary="\n    ".join(f"{kind}_temp_path {self._folder}/{kind};" for kind in kinds),
            access=f"{self._folder}/access.log owners" if self._owners else "off",
        )
        (self._folder / "nginx.conf").write_text(main)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def _end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise
            finally:
                self._process = None
