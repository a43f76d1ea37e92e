"""A real `plaudit serve` in a process of its own, to be started, stopped and killed by a test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from plaudit.http.auth import issue
from tests.engines.node import free_ports

PLAUDIT = Path(sys.executable).with_name("plaudit")
HOST = "127.0.0.1"
START_WITHIN_S = 60.0
STOP_WITHIN_S = 30.0
POLL_S = 0.02
TOKEN_TTL_S = 3600
LOG_TAIL_LINES = 40


class ServerProcess:
    """One `plaudit serve` (`everything`: with `--all`), or `plaudit worker`, on a data folder and a port of its own,
    the same over restarts.

    Nothing of the caller's settings reaches it: no `PLAUDIT_*` but those in `env`, no `plaudit.toml`. What it logs, as
    JSON lines and over all its runs, is in `log`. As a context manager it starts and, if it still runs, stops.
    """

    def __init__(
        self,
        data: Path,
        *,
        env: Mapping[str, str] | None = None,
        demo: bool = False,
        everything: bool = False,
        worker: str | None = None,
        program: Sequence[str] = (str(PLAUDIT),),
    ) -> None:
        self.data = data
        [self.port] = free_ports(1)
        self.url = f"http://{HOST}:{self.port}"
        self._own = dict(env or {})
        role = ["worker", worker] if worker else ["serve", *["--demo"] * demo, *["--all"] * everything]
        self._command = [*program, *role]
        self._log_path = data.with_name(f"{data.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.running:
            self._process = None
        elif kind is None:
            self.stop()
        else:
            self.kill()  # a failing test has something better to say than that the stop was slow

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def log(self) -> str:
        """What all runs so far have logged."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def start(self, *, within_s: float = START_WITHIN_S) -> None:
        """Start it and return when it is ready. Raises `AssertionError` with the log if it is not in time."""
        assert not self.running, "already running"
        self.data.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.data,  # away from any plaudit.toml
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + within_s
        while not self.ready():
            if not self.running or time.monotonic() > deadline:
                code = self._process.poll()
                self.kill()
                what = "is not ready in time" if code is None else f"ended with {code} before it was ready"
                raise AssertionError(f"plaudit {what}; its log ends:\n{self._tail()}")
            time.sleep(POLL_S)

    def stop(self, *, within_s: float = STOP_WITHIN_S) -> int:
        """SIGTERM; returns the exit code. Raises `AssertionError` (and kills it) if it does not end in time."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"plaudit did not stop within {within_s} s; its log ends:\n{self._tail()}"
            ) from None
        self._process = None
        return code

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop it gently and start it again on the same data and port."""
        self.stop()
        self.start()

    def ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        connection = HTTPConnection(HOST, self.port, timeout=10.0)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def token(
        self,
        user: str | None,
        *,
        service: bool = False,
        grants: Sequence[str] = (),
        ttl_s: int = TOKEN_TTL_S,
    ) -> str:
        """A token this server accepts. Needs a first start, which makes the secret, unless `env` sets one."""
        secret = self._own.get("PLAUDIT_AUTH_SECRET") or (self.data / "secret").read_text().strip()
        return issue(
            secret,
            user=user,
            service=service,
            grants=grants,
            ttl_s=ttl_s,
            now_s=int(time.time()),
            audience=self._own.get("PLAUDIT_AUDIENCE"),
            issuer=self._own.get("PLAUDIT_ISSUER"),
            user_claim=self._own.get("PLAUDIT_USER_CLAIM", "sub"),
        )

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT_")}
        ours = {
            "PLAUDIT_DATA": str(self.data.resolve()),
            "PLAUDIT_HOST": HOST,
            "PLAUDIT_PORT": str(self.port),
            "PLAUDIT_WORKER_PORT": str(self.port),
            "PLAUDIT_LOG_FORMAT": "json",
        }
        return {**inherited, **ours, **self._own}

    def _tail(self) -> str:
        return "\n".join(self.log.splitlines()[-LOG_TAIL_LINES:])
