"""How many connections there is room for: each case in a process with its own limit of open files."""

import subprocess
import sys

import pytest

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
