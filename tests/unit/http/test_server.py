"""Before it serves: how many connections there is room for, and which address a host has."""

import subprocess
import sys

import pytest

from plaudit.http.server import free_port

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
