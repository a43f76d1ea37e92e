"""Fixtures that every test may use: the async backend, and real programs that may be missing on a laptop."""

import os
import shutil
from typing import NoReturn

import pytest


def missing(what: str, how: str) -> NoReturn:
    """Skip the test with one clear line, or fail it in CI, where nothing may be missing."""
    line = f"{what} is not installed; {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(line, pytrace=False)
    pytest.skip(line)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium. Playwright takes it as executable_path; as root it also needs --no-sandbox."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    missing("chromium", "'make test' as root on Debian installs it")
