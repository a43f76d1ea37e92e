"""What holds for every test: how Hypothesis runs, the async backend, and programs that may be missing on a laptop."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, expect, sync_playwright
from xdist.scheduler import LoadScopeScheduling

from tests.engines.cassandra import Cassandra
from tests.engines.jars import Missing
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis
from tests.engines.running import Engines
from tests.support.nginx import program

# The same examples every time in CI, fresh ones on a laptop, and never a deadline.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("laptop", deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "laptop")


# `make test` has two workers: what is here runs in one, in this order, and everything else in the other, so that each
# engine is there once. First what keeps a processor busy, as much of it as is done when the other worker comes to its
# engines, which answer too late on a machine that has more to do. Then what mostly waits, and runs beside them.
BESIDE = (
    *("tests/benchmarks/", "tests/meta/", "tests/unit/", "tests/simulation/", "tests/fuzz/"),
    *(f"tests/e2e/test_{part}.py" for part in ("cli", "notifications", "readme", "snippets", "uvicorn")),
    *(f"tests/integration/{part}/" for part in ("openapi", "sqlite", "client", "http", "push", "nginx")),
    *(f"tests/e2e/test_{part}.py" for part in ("bell", "bell_inbox", "demo", "demo_calls")),
    *(f"tests/widget/test_{part}.py" for part in ("dialog", "kept", "live", "page", "picker", "refused")),
    *(f"tests/widget/test_{part}.py" for part in ("taps", "tokens", "users", "wishes")),
)

# They need no engine and take their time, in which rings of three start.
MEANWHILE = ("tests/e2e/test_running.py", "tests/e2e/test_soak.py", "tests/widget/test_look.py")


def part_of(nodeid: str) -> str:
    """Which of two workers a test belongs to."""
    return "beside" if nodeid.startswith(BESIDE) else "engines"


def _turn(item: pytest.Item) -> tuple[int, int]:
    """When a test comes; see `pytest_collection_modifyitems`."""
    place = (n for n, part in enumerate(BESIDE) if item.nodeid.startswith(part))
    nodes = 2 if item.nodeid.startswith(MEANWHILE) else _nodes(item)
    return nodes, next(place, len(BESIDE))


class TwoParts(LoadScopeScheduling):  # type: ignore[misc] # untyped
    """The tests of a part run in one worker, in their order."""

    def _split_scope(self, nodeid: str) -> str:
        return part_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TwoParts:
    """How `make test` shares out the tests."""
    return TwoParts(config, log)


# The fixtures that start a server, and what a contract test is parametrized with where it asks for one itself.
ENGINES = {"engines", "cassandra", "cassandra_ring", "kafka", "redis"}
# Those that take long to start, and who asks for them. They begin so many tests before the first that needs them.
SLOW = {Cassandra: {"engines", "cassandra", "cassandra_ring"}, Kafka: {"engines", "kafka"}}
AHEAD = 50

# Of a state that a page is to come to. By default 5 s, which a machine may stall for.
expect.set_options(timeout=60_000)

PATIENCE_S = 60

RUNNING = pytest.StashKey[Engines]()
BEGIN = pytest.StashKey[list[tuple[type[Cassandra] | type[Kafka], int]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Nothing starts before a test asks for it, or will soon."""
    config.stash[RUNNING] = Engines()


@pytest.hookimpl(trylast=True)  # when others have left out what is not asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests without engines first, so that no idle server takes their time; then those of single nodes; then those of
    three, so that each kind of engine is started twice at most; a few of the first wait until rings start. Else in the
    order of `BESIDE`, then of their files.
    """
    items.sort(key=_turn)
    for item in items:
        if part_of(item.nodeid) == "beside" and _nodes(item):
            raise pytest.UsageError(f"{item.nodeid} needs an engine: see BESIDE in tests/conftest.py")
    ours = [item for item in items if part_of(item.nodeid) == "engines"]
    counts = [_nodes(item) for item in ours]
    for nodes in {1, 3} & set(counts):
        first = counts.index(nodes)
        asked = set[str]().union(*map(_asked, ours[first : first + counts.count(nodes)]))
        for item in ours[max(0, first - AHEAD) : first]:
            item.stash[BEGIN] = [(kind, nodes) for kind, fixtures in SLOW.items() if fixtures & asked]


def _asked(item: pytest.Item) -> set[str]:
    """What a test asks for."""
    asked = set(getattr(item, "fixturenames", ()))
    if hasattr(item, "callspec"):
        asked |= {value for value in item.callspec.params.values() if isinstance(value, str)}
    return asked


def _nodes(item: pytest.Item) -> int:
    """How many nodes of an engine a test needs."""
    if item.get_closest_marker("three_nodes") is not None:
        return 3
    return int(bool(_asked(item) & ENGINES))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """While this test runs, engines of later ones start."""
    with suppress(Missing):  # whoever asks for it says so
        for kind, nodes in item.stash.get(BEGIN, []):
            item.config.stash[RUNNING].begin(kind, nodes)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the engines. Where a test failed, their logs are kept."""
    running = session.config.stash[RUNNING]
    running.keep_logs = session.testsfailed > 0
    folder = running.end()
    if running.keep_logs and folder is not None:
        sys.stderr.write(f"\nthe logs of the engines are kept in {folder}\n")


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
def engines(request: pytest.FixtureRequest) -> Engines:
    """The real servers of this run."""
    return request.config.stash[RUNNING]


@contextmanager
def needs() -> Iterator[None]:
    """Skip or fail, as `missing` does, where an engine cannot be started."""
    try:
        yield
    except Missing as error:
        missing(*error.args)


@pytest.fixture
def patient_cassandra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of this process wait longer for Cassandra than a machine may stand still."""
    for name in ("REQUEST_TIMEOUT_S", "CONNECT_TIMEOUT_S", "SILENT_S"):
        monkeypatch.setattr(f"plaudit.adapters.cassandra.session.{name}", PATIENCE_S)


@pytest.fixture
def cassandra(engines: Engines, patient_cassandra: None) -> Cassandra:
    """One node of Cassandra; nobody else could answer for it."""
    with needs():
        return engines.cassandra(1)


@pytest.fixture
def cassandra_ring(engines: Engines) -> Cassandra:
    """Three nodes of Cassandra, every one up. A test that ends one starts it again."""
    with needs():
        return engines.cassandra(3)


@pytest.fixture
def kafka(engines: Engines) -> Kafka:
    """One broker."""
    with needs():
        return engines.kafka(1)


@pytest.fixture
def patient_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of this process wait longer for Redis than a machine may stand still: for tests in which it is there."""
    for name in ("REQUEST_TIMEOUT_MS", "BATCH_TIMEOUT_MS", "CONNECT_TIMEOUT_MS"):
        monkeypatch.setattr(f"plaudit.adapters.redis.session.{name}", PATIENCE_S * 1000)


@pytest.fixture
def redis(engines: Engines) -> Redis:
    """Three masters with a replica each."""
    with needs():
        return engines.redis()


@pytest.fixture(scope="session")
def nginx() -> None:
    """For tests that start nginx (`tests.support.nginx`)."""
    if program() is None:
        missing("nginx", "'make test' as root on Debian installs it")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    missing("chromium", "'make test' as root on Debian installs it")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One Chromium for the tests of a module; each has a context of its own. Its event loop must end before others."""
    with sync_playwright() as playwright:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = playwright.chromium.launch(executable_path=chromium, args=args)
        yield running
        running.close()
