"""Node and what npm installed, each of which may be missing on a laptop, and a service with some users."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.conftest import missing
from tests.support.api import fresh
from tests.support.server import ServerProcess
from tests.widget.board import Board, Service

HERE = Path(__file__).parent
HINT = "'make test' installs it where npm is; as root on Debian it installs npm too"


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node."""
    return shutil.which("node") or missing("Node", "'make test' as root on Debian installs it (npm)")


@pytest.fixture(scope="session")
def packages(node: str) -> Path:
    """The folder of the installed npm packages."""
    assert node
    folder = HERE / "node_modules"
    return folder if (folder / "fast-check").is_dir() else missing("tests/widget/node_modules", HINT)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[ServerProcess]:
    """One service for all tests that do not stop it; each uses targets of its own."""
    assert chromium
    unlimited = {"PLAUDIT_RATE_LIMIT_PER_S": "0", "PLAUDIT_MAX_STREAMS_PER_ADDRESS": "0"}
    with ServerProcess(tmp_path_factory.mktemp("widget") / "data", env=unlimited) as running:
        service = Service(running)
        for user, name in {"alice": "Alice Arnaud", "bob": "Bob Okafor", "emi": "Emi Tanaka"}.items():
            service.call("PUT", f"/users/{user}", {"name": name, "avatar_url": None})
        yield running
        assert '"level": "error"' not in running.log


@pytest.fixture
def service(server: ServerProcess) -> Service:
    """The shared service as others call it."""
    return Service(server)


@pytest.fixture
def target() -> str:
    """A target that nobody else uses."""
    return fresh("post:")


Open = Callable[..., Board]


@pytest.fixture
def board(browser: Browser, server: ServerProcess) -> Iterator[Open]:
    """Makes pages: `board()` is in a browser of its own, `board(context=other.context)` a tab beside another."""
    boards: list[Board] = []

    def make(running: ServerProcess | None = None, context: Any = None, **options: Any) -> Board:
        boards.append(Board(running or server, context or browser.new_context(**options)))
        return boards[-1]

    yield make
    try:
        for one in boards:
            one.close()
    finally:
        for context in {one.context for one in boards}:
            context.close()
