"""Each fault once, shortened, on one cluster: no acknowledged tap is lost, none counts twice, and all agree again.

At full length: `make faults`.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import needs
from tests.engines.running import Engines
from tests.faults import split_table, splits
from tests.faults.cluster import crowd_of, flushed, run
from tests.faults.page import HEAD
from tests.faults.running import Processes, Running, started, watched
from tests.faults.table import SHORTENED, Fault
from tests.faults.under import SHORT

pytestmark = [pytest.mark.timeout(300), pytest.mark.three_nodes]

SEED = "7"


@pytest.fixture(scope="module")
def processes(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with needs():
        cassandra, kafka, redis = engines.cassandra(3), engines.kafka(3), engines.redis()
    with started(cassandra, kafka, redis, tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(scope="module")
async def running(processes: Processes, anyio_backend: str) -> AsyncIterator[Running]:
    async with watched(processes, SEED) as found:
        yield found
        await found.settled()


@pytest.mark.parametrize("fault", SHORTENED, ids=lambda fault: fault.name)
async def test_a_fault_loses_nothing_and_doubles_nothing(running: Running, fault: Fault) -> None:
    result = await run(running, fault, SHORT, SEED)
    print("\n".join(["", HEAD, *result.lines()]))  # noqa: T201 - the figures, for whoever runs it with -s
    assert result.problems == []


@pytest.mark.parametrize("case", split_table.SHORTENED, ids=lambda case: case.name)
async def test_a_split_loses_nothing_and_doubles_nothing(running: Running, case: split_table.Case) -> None:
    result = await splits.run(running, case, split_table.SHORT, SEED)
    print(f"\n{splits.HEAD}\n{result.line()}\n{result.told()}")  # noqa: T201 - as above
    assert result.problems == []


async def test_what_was_flushed_is_right(running: Running) -> None:
    targets = [name for fault in SHORTENED for name in crowd_of(running, fault, SEED).targets]
    for case in split_table.SHORTENED:
        targets += splits.crowd_of(running, case, SEED).targets
    assert await flushed(running, targets) == []
