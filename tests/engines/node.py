"""One server process that a test may kill, freeze and start again, and that never outlives the tests."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Below what the kernel hands out to clients by itself, above what services usually sit on. Each worker has its own.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = range(20_000 + _WORKER % 2, 32_000, 2)
_taken: set[int] = set()


def free_ports(count: int, addresses: Iterable[str] = ("127.0.0.1",)) -> list[int]:
    """Ports that are free on all these addresses, and that nobody else here was given."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS)
        if port not in _taken and all(_is_free(address, port) for address in addresses):
            _taken.add(port)
            found.append(port)
    return found


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind((address, port))
        except OSError:
            return False
    return True


def wait_for(true: Callable[[], bool], what: str, within_s: float, nodes: Sequence["Node"] = ()) -> None:
    """Return as soon as `true()`. Raises `RuntimeError` with the end of a node's log if it ends before, or in time."""
    deadline = time.monotonic() + within_s
    while not true():
        for node in nodes:
            if not node.running:
                raise RuntimeError(f"{node.name} ended before {what}:\n{node.tail()}")
        if time.monotonic() > deadline:
            logs = "\n".join(f"{node.name}:\n{node.tail()}" for node in nodes)
            raise RuntimeError(f"{what}: not within {within_s} s\n{logs}")
        time.sleep(0.05)


def accepts(address: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _goes_on(task: Path) -> bool:
    """Whether this thread (a folder of /proc) still runs, or would."""
    try:
        state = (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return False
    return state in "RSD"


def _die_with_the_tests() -> None:
    """Between fork and exec: however the tests end, the kernel ends this process too. Linux only; elsewhere a test run
    that is killed with SIGKILL leaves its servers behind.
    """
    os.setsid()  # Ctrl-C is for the tests; they stop their servers themselves
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Node:
    """A server. `command` starts it in the foreground; its output goes to `folder`/out.log.

    Only the thread that runs the tests may start one: the kernel ends it when the thread that started it does.
    """

    def __init__(
        self, name: str, folder: Path, command: Sequence[str], environment: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self.folder = folder
        self.command = command
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def running(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id. Raises `RuntimeError` if it was never started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process.pid

    def start(self) -> None:
        """Start it, and do not wait."""
        if self.running:
            return
        with (self.folder / "out.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                preexec_fn=_die_with_the_tests,
            )

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._end(signal.SIGKILL, 60)

    def freeze(self) -> None:
        """Stop it in its tracks: connections stay open and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        deadline = time.monotonic() + 60  # a thread stops when it gets its turn, and may answer until then
        while any(_goes_on(task) for task in tasks.iterdir()):
            assert time.monotonic() < deadline, f"{self.name} does not stop"
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, within_s: float = 15) -> None:
        """Ask it to end, and insist."""
        if self.running:
            self.thaw()
            self._end(signal.SIGTERM, within_s)

    def tail(self, lines: int = 30) -> str:
        """The end of what it said."""
        log = self.folder / "out.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def _end(self, how: signal.Signals, within_s: float) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)
