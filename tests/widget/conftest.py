"""Node and what npm installed for the tests of the widget; each may be missing on a laptop."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import missing

HERE = Path(__file__).parent
HINT = "'make test' installs it where npm is"


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node."""
    return shutil.which("node") or missing("node", "it comes with npm: apt-get install npm")


@pytest.fixture(scope="session")
def packages(node: str) -> Path:
    """The folder of the installed npm packages."""
    assert node
    folder = HERE / "node_modules"
    return folder if (folder / "fast-check").is_dir() else missing("tests/widget/node_modules", HINT)
