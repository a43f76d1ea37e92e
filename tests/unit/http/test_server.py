"""Before it serves: how many connections there is room for, and which address a host has."""

import errno
import signal
import socket
import subprocess
import sys
import time

import pytest

from plaudit.http.server import free_port
from tests.engines.node import accepts

ASK = "from plaudit.http.server import connections_possible as possible; print(possible(1000))"


@pytest.mark.parametrize(
    ("limits", "room"),
    [
        pytest.param("ulimit -n 1500", 1000, id="enough"),
        pytest.param("ulimit -Sn 300; ulimit -Hn 1500", 1000, id="raised"),
        pytest.param("ulimit -Sn 300; ulimit -Hn 600", 344, id="raised as far as allowed"),
        pytest.param("ulimit -n 200", 1, id="hardly any"),
    ],
)
def test_connections_are_as_many_as_files_may_be_open(limits: str, room: int) -> None:
    command = ["bash", "-c", f'{limits}; exec "$0" -c "$1"', sys.executable, ASK]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(run.stdout) == room


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1"])
def test_a_host_has_an_address(host: str) -> None:
    assert 0 < free_port(host) < 65536


@pytest.mark.parametrize("host", ["a..b", "a" * 70, "no such host", "[/]"])
def test_a_host_without_one_is_an_error_of_the_system(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        free_port(host)


_HANGS = """
import asyncio, sys
from plaudit.http import server

server.LEAVE_AFTER_S = 60.0

async def app(scope, receive, send):
    print("asked", flush=True)
    await asyncio.sleep(60)

async def drain():
    print("draining", flush=True)
    await asyncio.sleep(60)

asyncio.run(server.serve(app, "127.0.0.1", int(sys.argv[1]), drain))
"""


def refuses(host: str, port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.settimeout(10)
        return probe.connect_ex((host, port)) == errno.ECONNREFUSED


def test_after_a_second_signal_nobody_is_let_in_to_wait() -> None:
    address = ("127.0.0.1", free_port("127.0.0.1"))
    command = [sys.executable, "-c", _HANGS, str(address[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            deadline = time.monotonic() + 60
            while not accepts(*address):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            with socket.create_connection(address) as asking:
                asking.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert process.stdout.readline() == "asked\n"
                process.send_signal(signal.SIGTERM)
                assert process.stdout.readline() == "draining\n"
                process.send_signal(signal.SIGTERM)
                deadline = time.monotonic() + 30  # it waits longer than that for who asks already
                while not refuses(*address):
                    assert time.monotonic() < deadline, "connections are taken, and answered by nobody"
                    time.sleep(0.1)  # far fewer than may wait, or they would look refused in the end
                assert process.poll() is None
        finally:
            process.kill()
