"""Each error of the driver has one meaning, and no write is called refused that may have happened."""

from typing import Any

import acsylla
import pytest

from plaudit.adapters.cassandra import CassandraCells, CassandraConfig, Session
from plaudit.adapters.cassandra.errors import NOTHING_HAPPENED, read_failed, write_failed
from plaudit.domain.cell import Header
from plaudit.domain.errors import OutcomeUnknown, PlauditError, Unavailable
from plaudit.ports.cells import CellKey, Proposal

ERRORS = {name: kind for name, kind in vars(acsylla.errors).items() if name.startswith("Cass")}


def test_every_error_in_the_table_is_one_of_the_driver() -> None:
    assert sorted(NOTHING_HAPPENED - set(ERRORS)) == []


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_of_the_driver(name: str) -> None:
    error = ERRORS[name]("it says so")
    assert isinstance(read_failed(error), Unavailable)
    assert isinstance(write_failed(error), Unavailable if name in NOTHING_HAPPENED else OutcomeUnknown)
    assert name in str(write_failed(error))


@pytest.mark.parametrize(
    "name",
    [
        "CassErrorServerWriteTimeout",
        "CassErrorServerWriteFailure",
        "CassErrorServerReadTimeout",
        "CassErrorServerReadFailure",
        "CassErrorServerServerError",
        "CassErrorServerOverloaded",
        "CassErrorLibRequestTimedOut",
        "CassErrorLibWriteError",
    ],
)
def test_what_may_have_happened_is_unknown(name: str) -> None:
    assert isinstance(write_failed(ERRORS[name]("")), OutcomeUnknown)


@pytest.mark.parametrize(
    ("says", "means"),
    [
        ("Cannot achieve consistency level SERIAL", Unavailable),
        ("Cannot achieve consistency level QUORUM", OutcomeUnknown),
        ("something new", OutcomeUnknown),
    ],
)
def test_too_few_replicas_is_a_refusal_only_before_the_proposal(says: str, means: type[PlauditError]) -> None:
    assert isinstance(write_failed(acsylla.errors.CassErrorServerUnavailable(says)), means)


async def test_an_error_crosses_the_port_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(CassandraConfig(["127.0.0.1"]))
    cause = ERRORS["CassErrorServerWriteTimeout"]("no quorum")
    monkeypatch.setattr(session, "_session", _Failing(cause))
    async with CassandraCells(session) as cells:
        with pytest.raises(Unavailable) as read:
            await cells.read(CellKey("t"), ["ann"])
        with pytest.raises(Unavailable):
            await cells.settle(CellKey("t"), ["ann"])
        with pytest.raises(OutcomeUnknown) as write:
            await cells.propose(CellKey("t"), Proposal(0, Header(seq=1), {}))
    assert read.value.__cause__ is write.value.__cause__ is cause


class _Failing:
    """Prepares anything, and fails at whatever is executed."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def create_prepared(self, text: str, **_: Any) -> Any:
        return _Prepared(text)

    async def execute(self, _: Any) -> Any:
        raise self._error

    async def execute_batch(self, _: Any) -> Any:
        raise self._error


class _Prepared:
    def __init__(self, text: str) -> None:
        self._text = text

    def bind(self, _: Any) -> Any:
        return acsylla.create_statement(self._text.replace("?", "null"))
